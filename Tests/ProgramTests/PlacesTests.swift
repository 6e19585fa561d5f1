import Testing

@testable import Relay

/// How the workers are shared: by all mirrors, and by the users.
@Suite struct PlacesTests {
    /// How many places a user gets who takes all he can.
    private func greed(of user: UserPlaces) -> Int {
        var count = 0
        while user.take() { count += 1 }
        return count
    }

    /// With so many workers: the places of all, and those of a user alone.
    @Test(arguments: [
        (1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 3, 2), (5, 3, 2), (6, 4, 2), (8, 6, 4), (16, 12, 8),
        (256, 192, 128), (16_384, 12_288, 8_192),
    ])
    func `a quarter of the workers is nobody's, and a third of the rest is not for one user`(
        workers: Int, all: Int, alone: Int
    ) {
        let places = Places(workers: workers)
        #expect(places.limit == all)
        #expect(places.limitAlone == alone)
        #expect(greed(of: UserPlaces(of: places)) == alone)
    }

    @Test(arguments: [4, 16, 256])
    func `however many users take what they can, the next one finds a place`(workers: Int) {
        let places = Places(workers: workers)
        var taken = 0
        var greedy: [UserPlaces] = []
        // Each finds one as long as there are any.
        while taken < places.limit {
            let user = UserPlaces(of: places)
            let count = greed(of: user)
            #expect(count >= 1)
            taken += count
            greedy.append(user)
        }
        #expect(taken == places.limit)
        #expect(greedy.count > 1)
        #expect(!UserPlaces(of: places).take())
        // One that is given back is not for whoever has many.
        greedy[0].giveBack()
        #expect(!greedy[0].take())
        #expect(UserPlaces(of: places).take())
    }

    @Test func `a place given back is free again`() {
        let user = UserPlaces(of: Places(workers: 4))
        #expect(greed(of: user) == 2)
        #expect(!user.take())
        user.giveBack()
        #expect(user.take())
        #expect(!user.take())
    }
}
