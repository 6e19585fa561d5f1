// swift-tools-version: 6.2
import PackageDescription

// Strict memory safety is on wherever bytes from the network are read. `Threads` and `Streams` are
// the two places that hold raw pointers, and there every unsafe step has its reason beside it.
let plain: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]
let strict: [SwiftSetting] = plain + [.strictMemorySafety()]

let package = Package(
    name: "magicmirror",
    products: [
        .executable(name: "magicmirrord", targets: ["magicmirrord"]),
        .executable(name: "magicmirrorctl", targets: ["magicmirrorctl"]),
        .executable(name: "magicmirror", targets: ["magicmirror"]),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(
            name: "COpenSSL", pkgConfig: "libssl", providers: [.apt(["libssl-dev"])]),

        .target(name: "Wire", swiftSettings: strict),
        .target(name: "Threads", dependencies: ["CLinux"], swiftSettings: plain),
        .target(
            name: "Streams", dependencies: ["CLinux", "COpenSSL", "Threads"],
            swiftSettings: plain),
        .target(
            name: "Connections", dependencies: ["Streams", "Threads", "Wire"],
            swiftSettings: strict),
        .target(
            name: "Sessions", dependencies: ["Connections", "Streams", "Threads", "Wire"],
            swiftSettings: strict),
        .target(
            name: "Program", dependencies: ["CLinux", "Streams", "Threads", "Wire"],
            swiftSettings: strict),
        .target(
            name: "Relay",
            dependencies: ["Connections", "Program", "Sessions", "Streams", "Threads", "Wire"],
            swiftSettings: strict),
        .target(
            name: "Agent",
            dependencies: ["Connections", "Program", "Sessions", "Streams", "Threads", "Wire"],
            swiftSettings: strict),

        .executableTarget(
            name: "magicmirrord", dependencies: ["Program", "Relay", "Wire"],
            swiftSettings: strict),
        .executableTarget(
            name: "magicmirrorctl", dependencies: ["Program", "Relay"],
            swiftSettings: strict),
        .executableTarget(
            name: "magicmirror", dependencies: ["Agent", "Program", "Wire"],
            swiftSettings: strict),

        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: plain),
        .testTarget(name: "ThreadsTests", dependencies: ["Threads"], swiftSettings: plain),
        .testTarget(
            name: "StreamsTests", dependencies: ["Streams", "Threads"], swiftSettings: plain),
        .testTarget(
            name: "SessionsTests",
            dependencies: ["Connections", "Sessions", "Streams", "Threads", "Wire"],
            swiftSettings: plain),
        .testTarget(
            name: "ProgramTests", dependencies: ["Program", "Relay", "Agent", "Streams", "Wire"],
            swiftSettings: plain),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["magicmirrord", "magicmirrorctl", "magicmirror"],
            swiftSettings: plain),
    ]
)
