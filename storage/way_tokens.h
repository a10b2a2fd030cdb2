#pragma once
/// storage/way_tokens: which mail leaves under a return token, way by way: the setting return_path.tokens, and over it
/// return_path.tokens_by_way ("NAME=WORD", blanks between), which `posthouse way add|set --tokens` writes.
/// The words: off, programs (what programs send, and mail to many), all. The last one for a way counts.
/// Threads: pure.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::storage {

class Tx;

/// What the setting says of this way; "" nothing, or no word that is known.
std::string tokens_of_way(std::string_view setting, std::string_view way);
/// Writes it down; "default" or "" takes it out, "on" is all. Errc::invalid for any other word.
Result<> set_tokens_of_way(Tx& tx, std::string_view way, std::string_view word);

}  // namespace posthouse::storage
