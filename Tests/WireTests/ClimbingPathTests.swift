import Testing
import Wire

@Suite struct ClimbingPathTests {
    @Test(arguments: [
        ("/a/b", false), ("/", false), ("/a..b/...", false), ("/.well-known/x", false),
        ("/a/../b", true), ("/..", true), ("/./x", true), ("/%2e%2e/x", true),
        ("/a%2f..%2fb", true), ("/a\\..\\b", true), ("/..;x=1/y", true), ("/%zz", true),
    ])
    func `a path that some server could climb with is known`(path: String, climbs: Bool) {
        #expect(PathDoubt.climbs(Array(path.utf8)[...]) == climbs)
    }
}
