#pragma once
/// admin/transfer/crlf: the line ends of messages that lay in files. Files end lines with LF by custom, mail with CRLF
/// (RFC 5322 2.3). A CR alone, a NUL and every other octet stay as they are. Pure.
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "storage/body.h"

namespace posthouse::transfer {

/// Appends `piece` to `out` with every bare LF as CRLF. `last` is the octet before the piece (0 at the start) and
/// becomes its last one, so that a message can come in pieces.
void append_as_crlf(std::string& out, std::string_view piece, char& last);

/// Writes a message of a file into a body, with CRLF.
class CrlfWriter {
 public:
    explicit CrlfWriter(storage::BodyWriter& body) : body_(body) {}
    /// Errors: as BodyWriter.
    Result<> append(std::string_view piece);

 private:
    storage::BodyWriter& body_;
    std::string buffer_;
    char last_ = 0;
};

/// The way out: whether LF for CRLF in this piece can be undone on the way in. It cannot where a bare LF or CR CR LF
/// stands: such a message is written as it is. `last` as above.
bool is_plain_crlf(std::string_view piece, char& last);
/// Appends `piece` with LF for CRLF. `held_cr`: a CR that ended the last piece and waits; append it at the very end.
void append_as_lf(std::string& out, std::string_view piece, bool& held_cr);

}  // namespace posthouse::transfer
