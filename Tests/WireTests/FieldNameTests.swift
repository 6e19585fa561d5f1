import Testing

@testable import Wire

@Suite struct FieldNameTests {
    private func find(_ bytes: [UInt8]) -> FieldName {
        // In the middle of other bytes, as in a head.
        let all = [0x58, 0x2D] + bytes + [0x3A, 0x20, 0x78]
        return FieldNameTable.known.find(in: all.span, from: 2, to: 2 + bytes.count)
    }

    @Test(arguments: FieldName.allCases.filter { $0 != .other })
    func `a known name is found in any letter case, and nothing near it`(id: FieldName) {
        let name = [UInt8](id.text.description)
        #expect(find(name) == id)
        #expect(find([UInt8](id.text.description.lowercased())) == id)
        #expect(find([UInt8](id.text.description.uppercased())) == id)
        #expect(FieldNameTable.known.find(in: name.span, from: 0, to: name.count) == id)

        let neighbours = Set(FieldName.allCases.map { $0.text.description.lowercased() })
        var wrong: [String] = []
        for place in name.indices {
            for byte in [UInt8](tokenCharacters) where byte.lowercased != name[place].lowercased {
                var other = name
                other[place] = byte
                guard !neighbours.contains(other.text.lowercased()) else { continue }
                if find(other) != .other { wrong.append(other.text) }
            }
        }
        #expect(wrong == [])
        #expect(find(name + [0x2D]) == .other)
        #expect(find([0x2D] + name) == .other)
        #expect(find(Array(name.dropLast())) == .other)
    }

    @Test func `a name longer than any known one is another one`() {
        #expect(find([UInt8](repeating: 0x61, count: 25)) == .other)
        #expect(find([UInt8]("Sec-WebSocket-Extensions-")) == .other)
        #expect(find([]) == .other)
    }

    @Test func `a set holds what was put into it`() {
        for id in FieldName.allCases {
            var set: FieldSet = [.host, .via]
            #expect(set.contains(id) == (id == .host || id == .via))
            set.insert(id)
            #expect(set.contains(id))
            let union = set.union([.te])
            #expect(union.contains(.te) && union.contains(.host) && union.contains(id))
        }
        #expect(FieldName.allCases.count <= 64)
        #expect(!FieldSet().contains(.other))
    }
}
