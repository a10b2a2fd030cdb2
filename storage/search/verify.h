#pragma once
/// storage/search/verify (internal): which messages hold a string of more than three characters, exactly. The index
/// knows where each three characters in a row are; what that leaves is verified with the kept texts.
///
/// How much to ask of the index is weighed first. A list of messages costs time for each message in it, and terms that
/// are in nearly every text spare next to nothing: a word of most texts is found faster by reading them all. The texts
/// of a few messages tell how common each term is, and what it spares after those that were chosen before it.
/// Threads: find_holders reads with its caller's reader and with as many as are free besides, a thread each.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/search/database.h"

namespace posthouse::storage::search {

inline constexpr std::size_t kSampleTexts = 128;
/// From so many messages on choosing is worth the look at a sample.
inline constexpr std::size_t kSampledMin = 512;
/// More are left to the caller, who reads them in small steps and tells how far it is.
inline constexpr std::size_t kVerifiedMax = std::size_t{1} << 18U;

/// Those of `terms` to ask the index for, the rarest first; none where asking would not pay. `texts`: of some of the
/// `asked` messages; `indexed`: messages in the whole index, whose lists they are.
std::vector<std::string_view> choose_terms(std::span<const std::string_view> terms, std::span<const std::string> texts,
                                           std::uint64_t asked, std::uint64_t indexed);

/// Texts of some of `ids`, spread over all of them.
Result<std::vector<std::string>> sample_texts(Reader& reader, TextPart part, std::span<const MessageId> ids);

/// Those of `ids` (ascending) whose text holds `needle`, ascending. Errc::corrupt where a text is damaged.
Result<std::vector<MessageId>> find_holders(std::string_view needle, TextPart part, std::span<const MessageId> ids,
                                            Readers& readers, Reader& own);

}  // namespace posthouse::storage::search
