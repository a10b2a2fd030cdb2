#include "storage/search/trigram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace posthouse::storage::search {
namespace {

constexpr std::size_t kTermCharacters = 3;
constexpr std::size_t kTermsMax = 16;  // of a needle: more make it no rarer

std::size_t octets_of_character(std::string_view text) {
    std::size_t octets = 1;
    while (octets < text.size() && octets < 4 && (static_cast<unsigned char>(text[octets]) & 0xc0U) == 0x80) ++octets;
    return octets;
}

/// Terms of one text that were told already: FTS5 looks each one up in a table of its own, which costs more.
class Seen {
 public:
    void clear() {
        ++round_;
        count_ = 0;
    }
    /// False: told before. Terms are at most 12 octets, so that the key is the term itself.
    bool insert(std::string_view term) {
        std::uint64_t low = 0;
        std::uint32_t high = 0;
        std::memcpy(&low, term.data(), std::min<std::size_t>(term.size(), 8));
        if (term.size() > 8) std::memcpy(&high, term.data() + 8, term.size() - 8);
        const std::uint64_t length = term.size();
        std::uint64_t hash = (low ^ (std::uint64_t{high} << 29) ^ (length << 60)) * 0x9e3779b97f4a7c15ULL;
        for (std::size_t at = hash >> (64 - kBits);; at = (at + 1) % kSlots) {
            Slot& slot = slots_[at];
            if (slot.round != round_) {
                if (count_ * 4 > kSlots * 3) return true;  // full: telling a term twice does no harm
                ++count_;
                slot = Slot{low, high, static_cast<std::uint32_t>(length), round_};
                return true;
            }
            if (slot.low == low && slot.high == high && slot.length == length) return false;
        }
    }

 private:
    static constexpr unsigned kBits = 13;
    static constexpr std::size_t kSlots = std::size_t{1} << kBits;
    struct Slot {
        std::uint64_t low = 0;
        std::uint32_t high = 0;
        std::uint32_t length = 0;
        std::uint64_t round = 0;
    };
    std::array<Slot, kSlots> slots_{};
    std::uint64_t round_ = 0;
    std::size_t count_ = 0;
};

using TellToken = int (*)(void*, int, const char*, int, int, int);

struct Tokenizer {
    Seen seen;

    int run(void* context, int flags, std::string_view text, TellToken tell) {
        // A query gives one term, or the start of one.
        if ((flags & FTS5_TOKENIZE_QUERY) != 0) return put(context, tell, text, 0, text.size());
        seen.clear();
        std::size_t start = 0;
        // Ends of the characters from `start` on.
        std::array<std::size_t, kTermCharacters> ends{};
        std::size_t known = 0;
        while (start < text.size()) {
            while (known < kTermCharacters && (known == 0 ? start : ends[known - 1]) < text.size()) {
                const std::size_t from = known == 0 ? start : ends[known - 1];
                ends[known++] = from + octets_of_character(text.substr(from));
            }
            const std::size_t end = ends[known - 1];
            if (seen.insert(text.substr(start, end - start))) {
                if (const int rc = put(context, tell, text, start, end); rc != SQLITE_OK) return rc;
            }
            start = ends[0];
            std::copy(ends.begin() + 1, ends.end(), ends.begin());
            --known;
        }
        return SQLITE_OK;
    }

 private:
    static int put(void* context, TellToken tell, std::string_view text, std::size_t from, std::size_t to) {
        return tell(context, 0, text.data() + from, static_cast<int>(to - from), static_cast<int>(from),
                    static_cast<int>(to));
    }
};

int create_tokenizer(void*, const char**, int, Fts5Tokenizer** out) {
    *out = reinterpret_cast<Fts5Tokenizer*>(new Tokenizer());
    return SQLITE_OK;
}
void delete_tokenizer(Fts5Tokenizer* tokenizer) { delete reinterpret_cast<Tokenizer*>(tokenizer); }
int tokenize(Fts5Tokenizer* tokenizer, void* context, int flags, const char* text, int octets, TellToken tell) {
    if (text == nullptr || octets <= 0) return SQLITE_OK;
    const std::string_view all(text, static_cast<std::size_t>(octets));
    return reinterpret_cast<Tokenizer*>(tokenizer)->run(context, flags, all, tell);
}

// "x", with quotes doubled: in FTS5 nothing else is special between quotes.
void append_quoted(std::string& out, std::string_view term) {
    out += '"';
    for (const char c : term) {
        if (c == '"') out += c;
        out += c;
    }
    out += '"';
}

}  // namespace

Result<> add_tokenizer(Connection& db) {
    fts5_api* api = nullptr;
    sqlite3_stmt* ask = nullptr;
    int rc = sqlite3_prepare_v2(db.handle(), "SELECT fts5(?1)", -1, &ask, nullptr);
    if (rc == SQLITE_OK) rc = sqlite3_bind_pointer(ask, 1, static_cast<void*>(&api), "fts5_api_ptr", nullptr);
    if (rc == SQLITE_OK) sqlite3_step(ask);
    sqlite3_finalize(ask);
    if (api == nullptr) return Error(Errc::unsupported, "this SQLite was built without FTS5, which search needs");
    fts5_tokenizer methods{create_tokenizer, delete_tokenizer, tokenize};
    rc = api->xCreateTokenizer(api, kTokenizer, nullptr, &methods, nullptr);
    if (rc != SQLITE_OK) return db.error(rc);
    return {};
}

std::vector<std::string_view> characters(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const std::size_t octets = octets_of_character(text);
        out.push_back(text.substr(0, octets));
        text.remove_prefix(octets);
    }
    return out;
}

std::vector<std::string_view> terms_of(std::string_view needle) {
    const auto parts = characters(needle);
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i + kTermCharacters <= parts.size(); ++i) {
        const std::string_view last = parts[i + kTermCharacters - 1];
        const char* const begin = parts[i].data();
        const std::string_view term(begin, static_cast<std::size_t>(last.data() + last.size() - begin));
        if (term.find('\0') == std::string_view::npos && std::ranges::find(out, term) == out.end()) out.push_back(term);
    }
    return out;
}

std::string match_all(std::span<const std::string_view> terms) {
    std::string out;
    for (const std::string_view term : terms) {
        if (!out.empty()) out += " AND ";
        append_quoted(out, term);
    }
    return out;
}

std::optional<Expression> expression_for(std::string_view needle) {
    const std::size_t count = characters(needle).size();
    if (count == 0) return std::nullopt;
    Expression out;
    if (count < kTermCharacters) {
        if (needle.find('\0') != std::string_view::npos) return std::nullopt;  // FTS5 reads a C string
        append_quoted(out.match, needle);
        out.match += " *";
        out.exact = true;
        return out;
    }
    std::vector<std::string_view> terms = terms_of(needle);
    if (terms.empty()) return std::nullopt;
    const std::size_t step = (terms.size() + kTermsMax - 1) / kTermsMax;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < terms.size(); i += step) terms[kept++] = terms[i];
    terms.resize(kept);
    out.match = match_all(terms);
    out.exact = count == kTermCharacters;
    return out;
}

}  // namespace posthouse::storage::search
