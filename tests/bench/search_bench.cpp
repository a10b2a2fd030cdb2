// The search index: indexing, its size, and how long finding takes. Prints one JSON line a case.
//        search_bench [--messages 100000] [--rounds 7]             in a store of its own
//        search_bench --fill DATA --account ADDRESS --messages N   fills INBOX of a stopped server and indexes it
//        search_bench --maildir DIR --messages N                   the same messages as files, for a peer
// Times are wall clock with the CPU beside them: on a busy machine the latter counts.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "protocols/mime/facts.h"
#include "protocols/mime/text.h"
#include "storage/search/search_index.h"
#include "storage/store.h"

namespace {

using namespace posthouse;
using namespace posthouse::storage;

struct Options {
    std::string fill;
    std::string maildir;
    std::string account = "bench@a.example";
    int messages = 100'000;
    int rounds = 7;
};

template <class T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "search_bench: %s\n", result.error().context.c_str());
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

double wall_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
double cpu_s() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// Words as a language has them: few that are everywhere, many that are rare. The same for everybody.
class Writer {
 public:
    Writer() {
        static const char* const kSyllables[] = {"ba", "con", "der", "est", "fi",  "gra", "hol", "in",  "ke", "lor",
                                                 "mi", "nu",  "or",  "pre", "qui", "ra",  "sen", "tel", "un", "ver"};
        std::mt19937 random(7);
        for (std::size_t i = 0; i < kWords; ++i) {
            std::string word;
            for (std::size_t n = 1 + random() % 3 + (i > 200 ? 1 : 0); n > 0; --n) word += kSyllables[random() % 20];
            words_.push_back(word);
        }
    }
    // About 3 KB of text; every thousandth message holds a word of its own kind.
    std::string message(int number) const {
        std::mt19937 random(static_cast<unsigned>(number));
        std::string text;
        const std::size_t octets = 1000 + random() % 4000;
        while (text.size() < octets) {
            text += word(random);
            text += random() % 12 == 0 ? ".\r\n" : " ";
        }
        if (number % 1000 == 500) text += "zyxxyqueer";
        return fmt::format(
            "From: {} <{}@b.example>\r\nTo: bench@a.example\r\nSubject: {} {} {}\r\n"
            "Message-ID: <{}@b.example>\r\nDate: Mon, 6 Nov 2023 10:00:00 +0000\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
            word(random), word(random), word(random), word(random), word(random), number, text);
    }
    const std::string& common(std::size_t rank) const { return words_[rank]; }

 private:
    static constexpr std::size_t kWords = 40'000;
    // Rank by a power of an even number: half of all words are among the first few hundred.
    const std::string& word(std::mt19937& random) const {
        const double even = static_cast<double>(random()) / 4294967296.0;
        return words_[static_cast<std::size_t>(std::pow(even, 4.0) * static_cast<double>(kWords))];
    }
    std::vector<std::string> words_;
};

void fill(Store& store, AccountId account, const Writer& writer, int messages) {
    constexpr int kBatch = 500;
    for (int from = 0; from < messages; from += kBatch) {
        std::vector<StagedBodyPtr> bodies;
        std::vector<mime::MessageFacts> facts;
        for (int i = from; i < std::min(messages, from + kBatch); ++i) {
            const std::string message = writer.message(i);
            auto body = store.stage();
            must(body->append(message));
            bodies.push_back(must(body->finish()));
            facts.push_back(mime::compute_facts(message));
        }
        must(store.write(bodies, [&](Tx& tx) -> Result<> {
            for (std::size_t i = 0; i < bodies.size(); ++i) {
                Delivery delivery;
                delivery.body = bodies[i];
                delivery.facts = facts[i];
                LocalCopy copy;
                copy.account = account;
                delivery.local.push_back(copy);
                TRY([[maybe_unused]] const auto accepted, tx.deliver(delivery));
            }
            return {};
        }));
    }
}

std::uint64_t text_octets(const Writer& writer, int messages) {
    std::uint64_t out = 0;
    for (int i = 0; i < messages; i += 100) out += writer.message(i).size();
    return out * 100;
}

void measure_indexing(search::SearchIndex& index, const Writer& writer, int messages) {
    const double wall = wall_s();
    const double cpu = cpu_s();
    double slowest = 0;
    double last = wall;
    must(index.run_to_end([&](std::uint64_t) {
        slowest = std::max(slowest, wall_s() - last);
        last = wall_s();
        return true;
    }));
    const double us = 1e6 / messages;
    const auto status = must(index.status());
    const auto text = text_octets(writer, messages);
    fmt::print(
        "{{\"bench\":\"search_index\",\"messages\":{},\"wall_us_a_message\":{:.0f},\"cpu_us_a_message\":{:.0f},"
        "\"slowest_batch_ms\":{:.0f},\"text_mb\":{:.1f},\"file_mb\":{:.1f},\"file_of_text\":{:.2f}}}\n",
        status.indexed, (wall_s() - wall) * us, (cpu_s() - cpu) * us, slowest * 1e3, static_cast<double>(text) / 1e6,
        static_cast<double>(status.octets) / 1e6, static_cast<double>(status.octets) / static_cast<double>(text));
}

struct Needle {
    const char* name;
    std::string text;
};

std::vector<Needle> needles(const Writer& writer) {
    const std::string message = writer.message(4242);
    const std::size_t start = message.find("\r\n\r\n") + 4 + 300;
    std::string phrase = message.substr(start, 24);
    if (const auto end = phrase.find("\r\n"); end != std::string::npos) phrase.resize(end);
    return {{"rare", "xxyqueer"},
            {"common", writer.common(30)},
            {"very_common", writer.common(0)},
            {"no_match", "zzkxnothing"},
            {"phrase", phrase},
            {"two_characters", "zy"},
            {"one_character", "q"},
            {"three_characters", "qui"}};
}

void measure_finding(search::SearchIndex& index, Store& store, AccountId account, const Writer& writer, int rounds) {
    std::vector<MessageId> ids;
    must(store.read([&](const Snapshot& snapshot) -> Result<> {
        TRY(const Mailbox inbox, snapshot.mail(account).mailbox("INBOX"));
        TRY(const auto entries, snapshot.mail(account).entries(inbox.id, 1, ~Uid{0}));
        for (const Entry& entry : entries) ids.push_back(entry.message);
        return {};
    }));
    for (const Needle& needle : needles(writer)) {
        std::vector<double> ms;
        std::size_t found = 0;
        std::size_t verified = 0;
        for (int round = 0; round < rounds; ++round) {
            const double started = wall_s();
            const std::string folded = mime::fold_for_search(needle.text);
            const search::Condition condition(search::Condition::Kind::text, folded);
            const auto verdicts = must(index.narrow(condition, ids));
            const auto texts = index.texts();
            found = verified = 0;
            for (std::size_t i = 0; i < ids.size(); ++i) {
                found += verdicts[i] == search::Verdict::yes ? 1 : 0;
                if (verdicts[i] != search::Verdict::in_text) continue;
                ++verified;
                const auto header = texts->of(ids[i], search::TextPart::header);
                const auto body = texts->of(ids[i], search::TextPart::body);
                if (mime::search_holds(*header, folded) || mime::search_holds(*body, folded)) ++found;
            }
            ms.push_back((wall_s() - started) * 1e3);
        }
        std::ranges::sort(ms);
        fmt::print(
            "{{\"bench\":\"search_find\",\"needle\":\"{}\",\"found\":{},\"verified\":{},\"median_ms\":{:.2f},"
            "\"worst_ms\":{:.2f}}}\n",
            needle.name, found, verified, ms[ms.size() / 2], ms.back());
        std::fflush(stdout);
    }
}

void run(const Options& options) {
    const Writer writer;
    if (!options.maildir.empty()) {
        for (int i = 0; i < options.messages; ++i) {
            std::ofstream(fmt::format("{}/17000{:08}.M1P1.host:2,", options.maildir, i)) << writer.message(i);
        }
        return;
    }
    const bool own = options.fill.empty();
    std::string directory = options.fill;
    if (own) {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-search-XXXXXX").string();
        directory = std::string(::mkdtemp(pattern.data())) + "/data";
    }
    {
        StoreOptions store_options;
        store_options.directory = directory;
        auto store = must(own ? Store::create(store_options) : Store::open(store_options));
        const AccountId account = must(store->write_value({}, [&](Tx& tx) -> Result<AccountId> {
            if (const auto there = tx.catalog().account(options.account)) return there->id;
            TRY_VOID(tx.catalog().add_domain(options.account.substr(options.account.find('@') + 1)));
            return tx.catalog().add_account(options.account, "hash", "");
        }));
        fill(*store, account, writer, options.messages);
        search::SearchIndex index(*store);
        measure_indexing(index, writer, options.messages);
        if (own) measure_finding(index, *store, account, writer, options.rounds);
        // For whoever asks over IMAP: the same needles.
        if (!own) {
            for (const Needle& needle : needles(writer)) fmt::print("{}\t{}\n", needle.name, needle.text);
        }
    }
    if (own) std::filesystem::remove_all(std::filesystem::path(directory).parent_path());
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        const std::string value = argv[i + 1];
        if (name == "--messages") options.messages = std::stoi(value);
        if (name == "--rounds") options.rounds = std::stoi(value);
        if (name == "--fill") options.fill = value;
        if (name == "--account") options.account = value;
        if (name == "--maildir") options.maildir = value;
    }
    run(options);
}
