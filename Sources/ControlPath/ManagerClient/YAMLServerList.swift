// SPDX-License-Identifier: Apache-2.0
import CYAML
import Pool

/// The YAML form of servers.conf.
///
///     servers:
///       - reachable: 10.202.122.248:56001
///         addresses:
///           - 10.202.122.248:56001
///
/// A server may also be a plain address. Keys that are not known are passed over. Never follows the document deeper
/// than this form goes, so nesting and aliases cost nothing.
struct YAMLServerList {
    /// What is wrong, and the line, 1 for the first.
    struct Failure: Error {
        let line: Int
        let message: String
    }

    /// One server has few addresses.
    static let addressesMax = 64

    let entries: [ServerEntry]

    /// Whether a text is this form and not the plain one: its first line that says something begins a YAML document.
    static func isForm(of text: String) -> Bool {
        for line in text.split(whereSeparator: \.isNewline) {
            let content = line.drop { $0 == " " || $0 == "\t" }
            if content.isEmpty || content.hasPrefix("#") { continue }
            return ["---", "%YAML", "servers:", "{", "- "].contains { content.hasPrefix($0) }
        }
        return false
    }

    init(_ text: String, serversMax: Int) throws(Failure) {
        let document = try Document(text)
        guard let root = document.root else { throw Failure(line: 1, message: "the document is empty") }
        guard case .mapping(let pairs) = document.content(root),
            let servers = pairs.first(where: { document.scalar($0.key) == "servers" })?.value
        else { throw Failure(line: document.line(root), message: "there is no list 'servers:'") }
        guard case .sequence(let items) = document.content(servers), items.count <= serversMax else {
            throw Failure(line: document.line(servers), message: "'servers:' is not a list of at most \(serversMax)")
        }
        var entries: [ServerEntry] = []
        for item in items { entries.append(try YAMLServerList.entry(item, document)) }
        self.entries = entries
    }

    private static func entry(_ node: Document.Node, _ document: Document) throws(Failure) -> ServerEntry {
        switch document.content(node) {
        case .scalar:
            return ServerEntry(try address(node, document))
        case .mapping(let pairs):
            var reachable: [ServerAddress] = []
            var others: [ServerAddress] = []
            for pair in pairs {
                switch document.scalar(pair.key) {
                case "reachable" where document.scalar(pair.value) != "":
                    reachable.append(try address(pair.value, document))
                case "addresses":
                    guard case .sequence(let items) = document.content(pair.value), items.count <= addressesMax else {
                        throw Failure(
                            line: document.line(pair.value),
                            message: "'addresses:' is not a list of at most \(addressesMax) addresses")
                    }
                    for item in items { others.append(try address(item, document)) }
                default: break
                }
            }
            guard let entry = ServerEntry(reachable + others) else {
                throw Failure(
                    line: document.line(node), message: "the server has neither 'reachable:' nor 'addresses:'")
            }
            return entry
        case .sequence:
            throw Failure(line: document.line(node), message: "a list stands where a server is expected")
        }
    }

    private static func address(_ node: Document.Node, _ document: Document) throws(Failure) -> ServerAddress {
        let text = document.scalar(node)
        guard let text, let address = ServerAddress(text) else {
            throw Failure(
                line: document.line(node), message: "'\(text ?? "...")' is not an address such as 10.0.0.7:56001")
        }
        return address
    }
}

/// A parsed document of libyaml.
///
/// SAFETY: the pointers that libyaml hands out are used only while the document lives, and numbers of nodes are
/// its own.
private final class Document {
    typealias Node = Int32

    enum Content {
        case scalar(String)
        case sequence([Node])
        case mapping([(key: Node, value: Node)])
    }

    private var document: yaml_document_t

    init(_ text: String) throws(YAMLServerList.Failure) {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else {
            throw YAMLServerList.Failure(line: 1, message: "there is no memory left")
        }
        defer { yaml_parser_delete(&parser) }
        var document = yaml_document_t()
        let bytes = Array(text.utf8)
        let isLoaded = bytes.withUnsafeBufferPointer { buffer in
            yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
            return yaml_parser_load(&parser, &document) == 1
        }
        guard isLoaded else {
            let problem = parser.problem.map { String(cString: $0) } ?? "it is not YAML"
            throw YAMLServerList.Failure(line: Int(parser.problem_mark.line) + 1, message: problem)
        }
        self.document = document
    }

    /// libyaml numbers the nodes from 1; nil for a stream without a document.
    var root: Node? { yaml_document_get_root_node(&document) == nil ? nil : 1 }

    deinit { yaml_document_delete(&document) }

    private func node(_ number: Node) -> yaml_node_t? { yaml_document_get_node(&document, number)?.pointee }

    func line(_ number: Node) -> Int { (node(number).map { Int($0.start_mark.line) } ?? 0) + 1 }

    func scalar(_ number: Node) -> String? {
        guard case .scalar(let text) = content(number) else { return nil }
        return text
    }

    func content(_ number: Node) -> Content {
        guard let node = node(number) else { return .scalar("") }
        switch node.type {
        case YAML_SEQUENCE_NODE:
            let items = node.data.sequence.items
            let count = items.top - items.start
            return .sequence((0..<count).map { items.start[$0] })
        case YAML_MAPPING_NODE:
            let pairs = node.data.mapping.pairs
            let count = pairs.top - pairs.start
            return .mapping((0..<count).map { (pairs.start[$0].key, pairs.start[$0].value) })
        case YAML_SCALAR_NODE:
            let scalar = node.data.scalar
            return .scalar(
                String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self))
        default:
            return .scalar("")
        }
    }
}
