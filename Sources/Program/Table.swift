// Rows of words as columns, for people.

/// Columns as wide as their widest word, two spaces between them; the last one as it is.
package func aligned(_ rows: [[String]]) -> String {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in
        rows.map { $0[column].count }.max() ?? 0
    }
    return rows.map { row in
        let cells = zip(row, widths).dropLast().map { cell, width in
            cell + String(repeating: " ", count: width - cell.count + 2)
        }
        return cells.joined() + (row.last ?? "") + "\n"
    }.joined()
}
