// The body of a message as it arrives, out of whatever framing the head announced.
//
// Called by: the relay's workers for requests, the agent's for responses.
// Waits for: nothing; the caller waits for its socket between two calls.

import Streams
import Wire

package enum BodyError: Error {
    /// The peer closed inside the body (RFC 9112 §8).
    case truncated
    /// The chunked framing is broken: how.
    case malformed(ChunkError)
    case stream(StreamError)
}

package struct BodyReader: Sendable {
    private enum Framing: Sendable {
        case length(left: Int)
        case chunked(ChunkedDecoder)
        case untilClose
        case ended
        /// Which is not the end, however often somebody looks.
        case broken(BodyError)
    }
    private var framing: Framing

    /// What one look brought.
    package enum Progress {
        /// The piece has grown.
        case more
        /// Nothing is there now.
        case nothing
        /// The body is complete; the piece may have grown.
        case ended(trailers: Fields?)
    }

    package init(_ framing: BodyFraming, maximumTrailerBytes: Int) {
        switch framing {
        case .none: self.framing = .ended
        case .length(let length): self.framing = length == 0 ? .ended : .length(left: length)
        case .chunked:
            self.framing = .chunked(ChunkedDecoder(maximumTrailerBytes: maximumTrailerBytes))
        case .untilClose: self.framing = .untilClose
        }
    }

    package var hasEnded: Bool {
        if case .ended = framing { return true }
        return false
    }

    /// How many bytes the body still has, where that is known.
    package var bytesLeft: Int? {
        switch framing {
        case .length(let left): left
        case .ended: 0
        case .chunked, .untilClose, .broken: nil
        }
    }

    /// Appends what is there now to `piece`, until it holds `limit` bytes of payload.
    package mutating func read(
        from stream: ByteStream, _ input: inout InputBuffer, into piece: inout Piece, limit: Int
    ) throws(BodyError) -> Progress {
        switch framing {
        case .ended: return .ended(trailers: nil)
        case .broken(let error): throw error
        case .length(let left):
            let taken = try readPlain(
                from: stream, &input, into: &piece, limit: min(left, limit - piece.count))
            if taken == nil { throw .truncated }
            if taken == left {
                framing = .ended
                return .ended(trailers: nil)
            }
            framing = .length(left: left - (taken ?? 0))
            return taken == 0 ? .nothing : .more
        case .untilClose:
            let taken = try readPlain(
                from: stream, &input, into: &piece, limit: limit - piece.count)
            if taken == nil { framing = .ended }
            guard let taken else { return .ended(trailers: nil) }
            return taken == 0 ? .nothing : .more
        case .chunked(var decoder):
            // Out of the enum while it changes, so that nothing is copied.
            framing = .ended
            do {
                let progress = try readChunked(
                    from: stream, &input, into: &piece, limit: limit, &decoder)
                if case .ended = progress { return progress }
                framing = .chunked(decoder)
                return progress
            } catch {
                framing = .broken(error)
                throw error
            }
        }
    }

    /// - Returns: how many bytes were taken, 0 where there are none now, nil at the peer's end.
    private func readPlain(
        from stream: ByteStream, _ input: inout InputBuffer, into piece: inout Piece, limit: Int
    ) throws(BodyError) -> Int? {
        if !input.isEmpty {
            let end = min(input.range.upperBound, input.range.lowerBound + limit)
            let taken = end - input.range.lowerBound
            piece.bytes.append(contentsOf: input.bytes[input.range.lowerBound..<end])
            input.consume(to: end)
            return taken
        }
        var taken = 0
        do {
            while taken < limit {
                switch try stream.read(appendingTo: &piece.bytes, room: limit - taken) {
                case .bytes(let count): taken += count
                case .nothing: return taken
                // What came before the end goes first; the end is seen again next time.
                case .end: return taken == 0 ? nil : taken
                }
                if !stream.hasBuffered { break }
            }
        } catch {
            throw .stream(error)
        }
        return taken
    }

    private mutating func readChunked(
        from stream: ByteStream, _ input: inout InputBuffer, into piece: inout Piece, limit: Int,
        _ decoder: inout ChunkedDecoder
    ) throws(BodyError) -> Progress {
        let before = piece.count
        var hasFilled = false
        while piece.count < limit {
            // No more than the piece has room for.
            let first = input.range.lowerBound
            var range = first..<min(input.range.upperBound, first + limit - piece.count)
            let progress: ChunkedDecoder.Piece
            do {
                progress = try decoder.next(input.bytes, &range)
            } catch {
                throw .malformed(error)
            }
            switch progress {
            case .data(let data):
                piece.bytes.append(contentsOf: input.bytes[data])
                input.consume(to: range.lowerBound)
            case .end(let trailers):
                input.consume(to: range.lowerBound)
                return .ended(trailers: trailers)
            case .needMore:
                input.consume(to: range.lowerBound)
                if !input.isEmpty { continue }
                // One read a call: what has come goes on before more is asked for.
                if hasFilled || piece.count > before {
                    return piece.count > before ? .more : .nothing
                }
                hasFilled = true
                let arrival: Arrival
                do {
                    arrival = try input.fill(from: stream, room: Piece.maximumCount / 2)
                } catch {
                    throw .stream(error)
                }
                if arrival == .nothing { return .nothing }
                if arrival == .end { throw .truncated }
            }
        }
        return .more
    }
}
