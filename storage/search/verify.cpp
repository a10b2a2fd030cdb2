#include "storage/search/verify.h"

#include <algorithm>
#include <bitset>
#include <thread>
#include <utility>

#include "protocols/mime/search_text.h"

namespace posthouse::storage::search {
namespace {

// Measured with texts of 3 KB on two cores: a message in a list, and one that is unpacked and looked through.
constexpr double kListedUs = 0.12;
constexpr double kVerifiedUs = 1.2;
constexpr std::size_t kChosenMax = 16;
constexpr std::size_t kThreadsMax = 4;
constexpr std::size_t kIdsPerThread = 256;  // fewer are read sooner than a thread has begun

using InTexts = std::bitset<kSampleTexts>;

struct Term {
    std::string_view text;
    InTexts in;
    double share = 0;  ///< of all texts, as far as the sample tells
};

std::vector<Term> count_terms(std::span<const std::string_view> terms, std::span<const std::string> texts) {
    std::vector<Term> out;
    for (const std::string_view text : terms) {
        Term term;
        term.text = text;
        for (std::size_t i = 0; i < texts.size() && i < kSampleTexts; ++i) {
            if (mime::search_holds(texts[i], text)) term.in.set(i);
        }
        // What is in none of the sample is rare, but surely somewhere.
        term.share = (static_cast<double>(term.in.count()) + 0.5) / (static_cast<double>(texts.size()) + 1);
        out.push_back(term);
    }
    std::ranges::sort(out, {}, [](const Term& term) { return std::pair(term.share, term.text); });
    return out;
}

/// One look at the file for all texts: each would lock and unlock it by itself.
class Look {
 public:
    explicit Look(Connection& db) : db_(db) {}
    ~Look() {
        if (db_.in_transaction()) static_cast<void>(db_.exec("ROLLBACK"));
    }
    Look(const Look&) = delete;
    Look& operator=(const Look&) = delete;
    Result<> begin() { return db_.exec("BEGIN"); }

 private:
    Connection& db_;
};

/// What one thread reads.
struct Part {
    std::span<const MessageId> ids;
    std::vector<MessageId> holders;
    Result<> done;

    void run(std::string_view needle, TextPart part, Reader& reader) {
        Look look(reader.db());
        done = look.begin();
        if (!done) return;
        done = reader.each_text(ids, part, [&](MessageId id, std::string_view text) {
            if (mime::search_holds(text, needle)) holders.push_back(id);
        });
    }
};

}  // namespace

std::vector<std::string_view> choose_terms(std::span<const std::string_view> terms, std::span<const std::string> texts,
                                           std::uint64_t asked, std::uint64_t indexed) {
    std::vector<std::string_view> chosen;
    InTexts left;
    for (std::size_t i = 0; i < texts.size() && i < kSampleTexts; ++i) left.set(i);
    double left_share = 1;
    for (const Term& term : count_terms(terms, texts)) {
        if (chosen.size() == kChosenMax) break;
        const InTexts both = left & term.in;
        // Where the sample has run out of texts the terms count as independent.
        const double part =
            both.any() ? static_cast<double>(both.count()) / static_cast<double>(left.count()) : term.share;
        const double spared_us = left_share * (1 - part) * static_cast<double>(asked) * kVerifiedUs;
        const double price_us = term.share * static_cast<double>(indexed) * kListedUs;
        if (spared_us <= price_us) continue;
        chosen.push_back(term.text);
        left = both;
        left_share *= part;
    }
    return chosen;
}

Result<std::vector<std::string>> sample_texts(Reader& reader, TextPart part, std::span<const MessageId> ids) {
    std::vector<MessageId> some;
    const std::size_t step = std::max<std::size_t>(1, ids.size() / kSampleTexts);
    for (std::size_t i = step / 2; i < ids.size() && some.size() < kSampleTexts; i += step) some.push_back(ids[i]);
    std::vector<std::string> out;
    Look look(reader.db());
    TRY_VOID(look.begin());
    TRY_VOID(reader.each_text(some, part, [&](MessageId, std::string_view text) { out.emplace_back(text); }));
    return out;
}

Result<std::vector<MessageId>> find_holders(std::string_view needle, TextPart part, std::span<const MessageId> ids,
                                            Readers& readers, Reader& own) {
    const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
    const std::size_t wanted = std::min({kThreadsMax, cores, 1 + ids.size() / kIdsPerThread});
    // A reader that is not free is in another search: waiting for it could be for ever.
    std::vector<std::unique_ptr<Reader>> others;
    while (others.size() + 1 < wanted) {
        auto another = readers.take_if_free();
        if (!another) break;
        others.push_back(std::move(another));
    }
    const std::size_t count = others.size() + 1;
    std::vector<Part> parts(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t from = ids.size() * i / count;
        parts[i].ids = ids.subspan(from, ids.size() * (i + 1) / count - from);
    }
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 1; i < count; ++i) {
            threads.emplace_back([&, i] { parts[i].run(needle, part, *others[i - 1]); });
        }
        parts[0].run(needle, part, own);
    }
    for (auto& another : others) readers.give(std::move(another));
    std::vector<MessageId> out;
    for (Part& one : parts) {
        TRY_VOID(one.done);
        out.insert(out.end(), one.holders.begin(), one.holders.end());
    }
    return out;
}

}  // namespace posthouse::storage::search
