import Testing

@testable import Relay

@Suite struct PlacesTests {
    @Test func `a place beyond the limit is refused, and one given back is free again`() {
        let places = Places(limit: 2)
        #expect(places.take())
        #expect(places.take())
        #expect(!places.take())
        #expect(!places.take())
        places.giveBack()
        #expect(places.take())
        #expect(!places.take())
    }
}
