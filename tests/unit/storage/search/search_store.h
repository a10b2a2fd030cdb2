#pragma once
/// A store with mail to be found, and the two ways of finding it: by the index, and by reading all of it.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "protocols/mime/facts.h"
#include "protocols/mime/header.h"
#include "protocols/mime/text.h"
#include "storage/search/search_index.h"
#include "tests/support/temp_store.h"

namespace posthouse::test {

inline const auto kGoOn = [](std::uint64_t) { return true; };

inline void build(storage::search::SearchIndex& index) {
    const auto built = index.run_to_end(kGoOn);
    if (!built) FAIL(built.error().context);
}

inline std::string message_of(int number, const std::string& text) {
    return fmt::format("Subject: Number {}\r\nFrom: a{}@b.example\r\n\r\n{}\r\n", number, number % 7, text);
}

// Words that share many trigrams, so that candidates are wrong often.
inline std::string words(std::mt19937& random, int count) {
    static const char* const kWords[] = {
        "report", "export", "exporter", "portex",     "Stra\303\237e", "caf\xc3\xa9", "\xe4\xb8\xad\xe6\x96\x87",
        "or",     "AND",    "a*b",      "\"quoted\"", "na\xc3\xafve",  "repo",        "eport",
        "xport",  "x",      "zz"};
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += kWords[random() % std::size(kWords)];
        out += random() % 5 == 0 ? "" : " ";
    }
    return out;
}

inline const char* const kNeedles[] = {"report",
                                       "EXPORT",
                                       "exporter",
                                       "xporter",
                                       "strasse",
                                       "stra\xc3\x9f",
                                       "CAF\xc3\x89",
                                       "cafe\xcc\x81",
                                       "e\xcc\x81",
                                       "cafe",
                                       "\xe4\xb8\xad",
                                       "\xe4\xb8\xad\xe6\x96\x87",
                                       "or",
                                       "x",
                                       "zz",
                                       "\"quoted\"",
                                       "\"q",
                                       "a*b",
                                       "AND",
                                       "and ",
                                       "nothing of it",
                                       "number 1",
                                       "a3@b.example",
                                       "na\xc3\xaf",
                                       "ort ex",
                                       "\n",
                                       "  "};

class SearchStore : public TempStore {
 public:
    using Ids = std::vector<storage::MessageId>;
    SearchStore() = default;
    SearchStore(int count, unsigned seed) { fill(count, seed); }

    void fill(int count, unsigned seed) {
        std::mt19937 random(seed);
        std::vector<std::string> messages;
        for (int i = 0; i < count; ++i) messages.push_back(message_of(i, words(random, 30)));
        take_in(messages);
    }
    /// All in one write.
    void take_in(const std::vector<std::string>& messages) {
        std::vector<storage::StagedBodyPtr> bodies;
        for (const std::string& message : messages) bodies.push_back(stage(message));
        const auto done = (*this)->write(bodies, [&](storage::Tx& tx) -> Result<> {
            for (std::size_t i = 0; i < messages.size(); ++i) {
                storage::Delivery delivery;
                delivery.body = bodies[i];
                delivery.facts = mime::compute_facts(messages[i]);
                storage::LocalCopy copy;
                copy.account = account;
                delivery.local.push_back(copy);
                TRY([[maybe_unused]] const auto accepted, tx.deliver(delivery));
            }
            return {};
        });
        REQUIRE(done);
    }
    Ids ids() {
        Ids out;
        for (const storage::Entry& entry : entries(account, "INBOX")) out.push_back(entry.message);
        return out;
    }
    mime::SearchText text_of(storage::Uid uid) {
        const auto octets = (*this)->read([&](const storage::Snapshot& s) -> Result<std::string> {
            TRY(const auto box, s.mail(account).mailbox("INBOX"));
            TRY(const auto body, s.mail(account).body(box.id, uid));
            return body.read_all();
        });
        REQUIRE(octets);
        return mime::search_text(*octets, mime::find_header_end(*octets));
    }
    static bool holds(const mime::SearchText& text, const std::string& folded) {
        return mime::search_holds(text.header, folded) || mime::search_holds(text.body, folded);
    }

    /// As a search does it: the index, then what it kept, then the message itself.
    Ids by_index(storage::search::SearchIndex& index, const std::string& needle) {
        using storage::search::Condition;
        using storage::search::Verdict;
        const std::string folded = mime::fold_for_search(needle);
        const std::vector<storage::Entry> all = entries(account, "INBOX");
        auto verdicts = index.narrow(Condition(Condition::Kind::text, folded), ids());
        if (!verdicts) verdicts = std::vector<Verdict>(all.size(), Verdict::in_mail);
        const auto texts = index.texts();
        Ids out;
        for (std::size_t i = 0; i < all.size(); ++i) {
            const Verdict verdict = (*verdicts)[i];
            bool found = verdict == Verdict::yes;
            if (verdict == Verdict::in_text || verdict == Verdict::in_mail) {
                found = holds(text_kept(texts.get(), all[i]), folded);
            }
            if (found) out.push_back(all[i].message);
        }
        return out;
    }
    /// What the index kept, or what the message says.
    mime::SearchText text_kept(storage::search::Texts* texts, const storage::Entry& entry) {
        using storage::search::TextPart;
        const auto header = texts == nullptr ? std::nullopt : texts->of(entry.message, TextPart::header);
        const auto body = texts == nullptr ? std::nullopt : texts->of(entry.message, TextPart::body);
        if (!header || !body) return text_of(entry.uid);
        mime::SearchText out;
        out.header = *header;
        out.body = *body;
        return out;
    }
    Ids by_reading(const std::string& needle) {
        Ids out;
        const std::string folded = mime::fold_for_search(needle);
        for (const storage::Entry& entry : entries(account, "INBOX")) {
            if (holds(text_of(entry.uid), folded)) out.push_back(entry.message);
        }
        return out;
    }
    void check_agreement(storage::search::SearchIndex& index) {
        for (const char* needle : kNeedles) {
            CAPTURE(needle);
            CHECK(by_index(index, needle) == by_reading(needle));
        }
    }

    const storage::AccountId account = add_account("alice@a.example");
};

}  // namespace posthouse::test
