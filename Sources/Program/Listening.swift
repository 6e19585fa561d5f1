// The sockets that a program listens on: where its operator says, or not at all.
//
// Called by: relay and agent, at their start.
// Waits for: nothing; addresses are in figures, so that no resolver is asked.

import Glibc
import Streams
import Wire

extension SettingValue {
    /// An address to listen on, in figures: a listener is where its line says.
    package func listeningAddress() throws(StartError) -> SocketAddressText {
        let address: SocketAddressText
        do throws(TextError) {
            address = try SocketAddressText.parse(text)
        } catch {
            throw self.error(error.message)
        }
        if case .tcp(let tcp) = address, AddressRange(tcp.host) == nil {
            throw error("'\(tcp.host)' is not an address in figures (0.0.0.0 or [::] for all)")
        }
        return address
    }

    /// The same for what is served to everybody who can connect: it must be open to this machine
    /// only.
    ///
    /// - Parameter port: for the example in the message.
    package func localListeningAddress(port: Int) throws(StartError) -> SocketAddressText {
        let address = try listeningAddress()
        if case .tcp(let tcp) = address, !AddressRange.isLoopback(tcp.host) {
            throw error(
                "'\(text)' is not on this machine alone (such as 127.0.0.1:\(port),"
                    + " [::1]:\(port), unix:/PATH)")
        }
        return address
    }

    /// Binds the address that this value names.
    ///
    /// - Parameters:
    ///   - mode: of a unix socket; nil: as the umask has it.
    ///   - manual: of the program, for what a user may lack.
    package func listen(
        _ address: SocketAddressText, mode: UInt32? = nil, manual: String
    ) throws(StartError) -> Listener {
        do throws(ListenError) {
            return try Listener(try SocketAddress(address), mode: mode)
        } catch {
            throw failure(bindFailure(address, error.number, manual: manual))
        }
    }
}

extension SocketAddress {
    /// An address in figures. One that is none is as good as one this machine does not have.
    fileprivate init(_ text: SocketAddressText) throws(ListenError) {
        do throws(StreamError) {
            switch text {
            case .tcp(let address):
                let found = try SocketAddress.resolve(
                    host: address.host, port: UInt16(clamping: address.port), numericOnly: true)
                guard let first = found.first else {
                    throw StreamError.nameUnknown(address.host)
                }
                self = first
            case .unix(let path): self = try .unix(path: path)
            }
        } catch {
            throw ListenError(number: EADDRNOTAVAIL)
        }
    }
}

/// What is wrong with an address that could not be bound, and what to do.
func bindFailure(_ address: SocketAddressText, _ number: Int32, manual: String) -> String {
    let remedy: String? =
        switch (number, address) {
        case (EACCES, .tcp): "needs CAP_NET_BIND_SERVICE, see \(manual)"
        case (EACCES, .unix): "user id \(geteuid()) may not write to its directory"
        case (EADDRINUSE, .tcp(let tcp)):
            "stop the program that listens there, see 'ss -ltnp sport = :\(tcp.port)',"
                + " or take another port"
        case (EADDRINUSE, .unix): "stop the program that listens there, or take another path"
        case (EADDRNOTAVAIL, _): "this machine has no such address, see 'ip address'"
        case (ENOENT, .unix): "make its directory"
        default: nil
        }
    return "cannot bind '\(address)': \(systemMessage(number))" + (remedy.map { " (\($0))" } ?? "")
}
