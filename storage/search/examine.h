#pragma once
/// storage/search/examine: what is wrong with the file of the index, for posthouse fsck. Reads beside a server that
/// writes; changes nothing. A file of another version or store is sound: it is built anew for that reason, not for
/// this.
/// Threads: one.
#include <functional>
#include <string>
#include <vector>

#include "storage/store.h"

namespace posthouse::storage::search {

enum class Thoroughness {
    quick,  ///< SQLite's quick_check
    pages,  ///< its integrity_check
    texts,  ///< that, and every kept text by its checksum
    words   ///< that, and some words of each text looked up: costs CPU
};

inline constexpr std::size_t kExamineSentencesMax = 100;
/// A sentence for each fault, at most kExamineSentencesMax; none where there is no file. Asked now and then, `go_on`
/// may end it early.
Result<std::vector<std::string>> examine(Store& store, Thoroughness how, const std::function<bool()>& go_on);

}  // namespace posthouse::storage::search
