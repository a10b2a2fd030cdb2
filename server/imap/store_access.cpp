#include "server/imap/store_access.h"

#include <algorithm>
#include <set>

#include "protocols/mime/facts.h"
#include "server/imap/store_listing.h"
#include "server/imap/store_search.h"
#include "storage/await.h"
#include "storage/sent_copy.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

using storage::MailTx;
using storage::MailView;
using storage::Snapshot;
using storage::Tx;

Result<KeywordSets> keyword_sets_of(const MailView& mail, std::span<const Entry> entries) {
    std::set<std::uint32_t> ids;
    for (const Entry& entry : entries) {
        if (entry.keyword_set != 0) ids.insert(entry.keyword_set);
    }
    return read_keyword_sets(mail, std::vector(ids.begin(), ids.end()));
}

// That the account may read the mailbox is settled before the cache is asked.
Result<OpenedMailbox> open_mailbox(MailboxCache& cache, const MailView& mail, const std::string& name) {
    TRY(const Mailbox found, mail.mailbox(name));
    TRY(const Mailbox mailbox, mail.mailbox(found.id));  // that it may be read
    TRY(OpenedMailbox out, cache.open(mail, mailbox.account, mailbox));
    // A newer image is as another account sees it, whose name and rights are not these.
    out.mailbox.name = mailbox.name;
    out.mailbox.rights = mailbox.rights;
    out.mailbox.special_use = mailbox.special_use;
    out.mailbox.subscribed = mailbox.subscribed;
    cache.recent().correct(out.mailbox);
    return out;
}

Result<MailboxNews> read_news(MailboxCache& cache, const MailView& mail, storage::AccountId account, MailboxId mailbox,
                              ModSeq since) {
    auto found = mail.mailbox(mailbox);
    if (!found && found.error().code == Errc::not_found) cache.forget(account, mailbox);
    MailboxNews out;
    TRY(out.mailbox, std::move(found));
    cache.recent().correct(out.mailbox);
    TRY(out.changed, mail.changed_since(mailbox, since));
    TRY(out.expunged, mail.expunged_since(mailbox, since));
    TRY(out.keyword_sets, keyword_sets_of(mail, out.changed));
    out.entries = cache.follow(mail, out.mailbox.account, out, since);
    return out;
}

Result<MailboxStatus> status_of(MailboxCache& cache, const MailView& mail, Mailbox mailbox, std::uint8_t reads) {
    MailboxStatus out;
    out.mailbox = std::move(mailbox);
    cache.recent().correct(out.mailbox);
    if ((reads & kReadRecent) != 0 && out.mailbox.recent_from < out.mailbox.uid_next) {
        TRY(out.recent, mail.count_from(out.mailbox.id, out.mailbox.recent_from));
    }
    if ((reads & kReadDeleted) != 0) {
        TRY(out.deleted, mail.deleted_totals(out.mailbox.id));
    }
    if ((reads & kReadAnnotations) != 0) {
        TRY(out.annotations, mail.annotations(out.mailbox.id));
    }
    return out;
}

Result<MailboxStatus> read_status(MailboxCache& cache, const MailView& mail, const std::string& name,
                                  std::uint8_t reads) {
    TRY(Mailbox mailbox, mail.mailbox(name));
    if ((reads & kMustRead) != 0) TRY_VOID(mail.mailbox(mailbox.id));
    return status_of(cache, mail, std::move(mailbox), reads);
}

Result<MailboxListing> read_listing(MailboxCache& cache, const MailView& mail, std::uint8_t reads) {
    MailboxListing out;
    TRY(auto mailboxes, mail.mailboxes());
    out.mailboxes.reserve(mailboxes.size());
    for (Mailbox& mailbox : mailboxes) {
        // Of what may not be read nothing but the name is told.
        const bool readable = has(mailbox.rights, storage::Right::read);
        TRY(MailboxStatus status, status_of(cache, mail, std::move(mailbox), readable ? reads : std::uint8_t{0}));
        out.mailboxes.push_back(std::move(status));
    }
    TRY(out.subscriptions, mail.subscriptions());
    return out;
}

Result<Mailbox> create_mailbox(MailTx& mail, const std::string& name, storage::SpecialUse use) {
    if (use == storage::SpecialUse::none || mail.mailbox(name)) return mail.create(name, use);
    TRY(const auto all, mail.mailboxes());
    const bool taken = std::ranges::any_of(all, [&](const Mailbox& mailbox) { return mailbox.special_use == use; });
    if (taken) return Error(Errc::conflict, "another mailbox has that special use");
    return mail.create(name, use);
}

Result<std::vector<Mailbox>> visible_mailboxes(const MailView& mail) {
    TRY(auto out, mail.mailboxes());
    for (Mailbox& mailbox : out) {
        if (has(mailbox.rights, storage::Right::read)) continue;
        Mailbox bare;
        bare.id = mailbox.id;
        bare.account = mailbox.account;
        bare.name = std::move(mailbox.name);
        bare.rights = mailbox.rights;
        bare.subscribed = mailbox.subscribed;
        mailbox = std::move(bare);
    }
    return out;
}

// The mailbox of an annotation; 0: the account as a whole.
Result<MailboxId> annotated(const MailView& mail, const std::string& name) {
    if (name.empty()) return MailboxId{};
    TRY(const Mailbox mailbox, mail.mailbox(name));
    return mailbox.id;
}

// Puts facts of messages together, here on a reader's thread, since the session's has enough to do with writing the
// answer.
class FactsTaker {
 public:
    FactsTaker(const FactsOf& of, std::size_t count) : of_(of), out_(std::in_place) { out_->messages.resize(count); }

    FetchFacts& at(std::size_t place) { return out_->messages[place]; }
    void take(FetchFacts& into, std::string_view envelope, std::uint64_t header_octets, std::string_view structure) {
        if (!out_) return;
        into.envelope = out_->texts.keep(envelope);
        into.header_octets = header_octets;
        Result<> done;
        if (of_.body) done = write(into.body, structure, mime::Extension::without);
        if (done && of_.bodystructure) done = write(into.bodystructure, structure, mime::Extension::with);
        if (done && of_.tree) {
            auto tree = mime::decode_structure(structure);
            if (tree)
                into.structure = std::make_unique<const mime::Structure>(*std::move(tree));
            else
                done = Error(tree.error());
        }
        if (!done) out_ = Error(done.error());
    }
    bool failed() const { return !out_; }
    Result<FetchedFacts> finish() { return std::move(out_); }

 private:
    Result<> write(std::string_view& into, std::string_view structure, mime::Extension extension) {
        scratch_.clear();
        TRY_VOID(mime::append_imap_body(scratch_, structure, extension, of_.globals));
        into = out_->texts.keep(scratch_);
        return {};
    }

    const FactsOf of_;
    Result<FetchedFacts> out_;
    std::string scratch_;
};

// Neighbours are read in one go.
Result<FetchedFacts> read_shapes(const MailView& mail, MailboxId mailbox, const std::vector<Uid>& uids,
                                 const FactsOf& of) {
    FactsTaker taker(of, uids.size());
    std::size_t next = 0;
    TRY_VOID(mail.each_listed(mailbox, uids.front(), uids.back(), storage::Listing::shapes,
                              [&](const storage::ListedFacts& facts) {
                                  while (next < uids.size() && uids[next] < facts.uid) ++next;
                                  if (next == uids.size() || uids[next] != facts.uid || taker.failed()) return;
                                  FetchFacts& into = taker.at(next);
                                  into.uid = facts.uid;
                                  into.email = static_cast<std::uint64_t>(storage::raw(facts.message));
                                  into.save_date_s = facts.save_date_s;
                                  into.size_octets = facts.size_octets;
                                  taker.take(into, facts.envelope, facts.header_octets, facts.structure);
                              }));
    return taker.finish();
}

Result<FetchedFacts> read_facts(const MailView& mail, MailboxId mailbox, const std::vector<Uid>& uids,
                                const FactsOf& of) {
    if (uids.empty()) return FetchedFacts();
    constexpr std::size_t kNear = 2;  // so many in the range for one that is wanted cost less than to seek each
    const bool sorted = std::ranges::is_sorted(uids);
    if (of.message && sorted && uids.back() - uids.front() < uids.size() * kNear) {
        return read_shapes(mail, mailbox, uids, of);
    }
    FactsTaker taker(of, uids.size());
    TRY(const auto entries, mail.entries(mailbox, uids.front(), uids.back()));
    std::vector<Entry> wanted;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < uids.size(); ++i) {
        const auto at = std::lower_bound(entries.begin(), entries.end(), uids[i],
                                         [](const Entry& entry, Uid uid) { return entry.uid < uid; });
        if (at == entries.end() || at->uid != uids[i]) continue;
        FetchFacts& into = taker.at(i);
        into.email = static_cast<std::uint64_t>(storage::raw(at->message));
        into.save_date_s = at->save_date_s;
        into.size_octets = at->size_octets;
        if (!of.message) {
            into.uid = at->uid;
            continue;
        }
        wanted.push_back(*at);
        places.push_back(i);
    }
    TRY_VOID(mail.each_facts(mailbox, wanted, [&](std::size_t i, const mime::MessageFacts& facts) {
        if (taker.failed()) return;
        FetchFacts& into = taker.at(places[i]);
        into.uid = wanted[i].uid;
        taker.take(into, facts.envelope, facts.header_octets, facts.structure);
    }));
    return taker.finish();
}

Result<std::vector<std::optional<std::string>>> read_ranges(const MailView& mail, MailboxId mailbox,
                                                            const std::vector<BodyRange>& ranges) {
    std::vector<std::optional<std::string>> out;
    out.reserve(ranges.size());
    std::optional<storage::BodyReader> body;
    Uid of = 0;
    for (const BodyRange& range : ranges) {
        if (range.uid != of) {
            body.reset();
            of = range.uid;
            auto opened = mail.body(mailbox, range.uid);
            if (opened)
                body.emplace(*std::move(opened));
            else if (opened.error().code != Errc::not_found)
                return Error(opened.error());
        }
        if (!body) {
            out.emplace_back();
            continue;
        }
        TRY(auto octets, body->read(range.offset, range.octets));
        out.emplace_back(std::move(octets));
    }
    return out;
}

class StoreAccess final : public Access {
 public:
    StoreAccess(storage::Store& store, storage::search::SearchIndex* index, MailboxCache& cache, net::Loop& loop,
                net::ThreadPool& pool, storage::AccountId account)
        : store_(store), index_(index), cache_(cache), loop_(loop), pool_(pool), account_(account) {}

    Answer<std::vector<Mailbox>> mailboxes() override {
        return reading([](const MailView& mail) { return visible_mailboxes(mail); });
    }
    Answer<MailboxListing> list(std::uint8_t reads) override {
        return reading([cache = &cache_, reads](const MailView& mail) { return read_listing(*cache, mail, reads); });
    }
    Answer<MailboxStatus> status(std::string name, std::uint8_t reads) override {
        return reading([cache = &cache_, name = std::move(name), reads](const MailView& mail) {
            return read_status(*cache, mail, name, reads);
        });
    }
    Answer<Mailbox> create(std::string name, storage::SpecialUse use) override {
        return writing([name = std::move(name), use](MailTx& mail) { return create_mailbox(mail, name, use); });
    }
    Answer<void> remove(std::string name) override {
        return writing([name = std::move(name)](MailTx& mail) { return mail.remove(name); });
    }
    Answer<void> rename(std::string from, std::string to) override {
        return writing([from = std::move(from), to = std::move(to)](MailTx& mail) { return mail.rename(from, to); });
    }
    Answer<void> set_subscribed(std::string name, bool subscribed) override {
        return writing(
            [name = std::move(name), subscribed](MailTx& mail) { return mail.set_subscribed(name, subscribed); });
    }

    Answer<Quota> quota() override {
        auto job = [account = account_](const Snapshot& snapshot) -> Result<Quota> {
            TRY(const auto row, snapshot.catalog().account(account));
            return Quota{row.used_octets, row.quota_octets, row.used_messages, row.quota_messages};
        };
        return storage::read(store_, pool_, loop_, std::move(job));
    }
    Answer<std::vector<storage::Annotation>> annotations(std::string name) override {
        return reading([name = std::move(name)](const MailView& mail) -> Result<std::vector<storage::Annotation>> {
            TRY(const MailboxId mailbox, annotated(mail, name));
            return mail.annotations(mailbox);
        });
    }
    Answer<void> annotate(std::string name, std::vector<storage::AnnotationChange> changes) override {
        return writing([name = std::move(name), changes = std::move(changes)](MailTx& mail) -> Result<> {
            TRY(const MailboxId mailbox, annotated(mail, name));
            return mail.annotate(mailbox, changes);
        });
    }

    Answer<std::vector<storage::RightsRow>> rights(std::string name) override {
        return reading([name = std::move(name)](const MailView& mail) -> Result<std::vector<storage::RightsRow>> {
            TRY(const Mailbox mailbox, mail.mailbox(name));
            return mail.rights(mailbox.id);
        });
    }
    Answer<std::string> owner(std::string name) override {
        auto job = [account = account_, name = std::move(name)](const Snapshot& snapshot) -> Result<std::string> {
            TRY(const Mailbox mailbox, snapshot.shared_mail(account).mailbox(name));
            TRY(auto row, snapshot.catalog().account(mailbox.account));
            return row.address;
        };
        return storage::read(store_, pool_, loop_, std::move(job));
    }
    Answer<void> set_rights(std::string name, std::string identifier, storage::RightsChange how,
                            storage::Rights rights) override {
        return writing(
            [name = std::move(name), identifier = std::move(identifier), how, rights](MailTx& mail) -> Result<> {
                TRY(const Mailbox mailbox, mail.mailbox(name));
                return mail.set_rights(mailbox.id, identifier, how, rights);
            });
    }

    Answer<OpenedMailbox> open(std::string name) override {
        return reading([cache = &cache_, name = std::move(name)](const MailView& mail) {
            return open_mailbox(*cache, mail, name);
        });
    }
    Uid take_recent(const Mailbox& mailbox) override {
        const Uid first = cache_.recent().take(mailbox);
        if (first >= mailbox.uid_next) return first;
        auto note = [account = account_, id = mailbox.id, up_to = mailbox.uid_next](Tx& tx) {
            return tx.shared_mail(account).note_recent(id, up_to);
        };
        // Nobody waits for it, and where it fails they are \Recent once more after a restart.
        store_.submit({}, std::move(note), loop_, [](Result<>) {});
        return first;
    }
    Answer<MailboxNews> news(MailboxId mailbox, ModSeq since) override {
        return reading([cache = &cache_, account = account_, mailbox, since](const MailView& mail) {
            return read_news(*cache, mail, account, mailbox, since);
        });
    }

    Answer<FetchedFacts> facts(MailboxId mailbox, std::vector<Uid> uids, FactsOf of) override {
        return reading([mailbox, uids = std::move(uids), of](const MailView& mail) {
            return read_facts(mail, mailbox, uids, of);
        });
    }
    Answer<std::vector<std::optional<std::string>>> read(MailboxId mailbox, std::vector<BodyRange> ranges) override {
        return reading(
            [mailbox, ranges = std::move(ranges)](const MailView& mail) { return read_ranges(mail, mailbox, ranges); });
    }
    Answer<std::vector<wire::SearchSaved>> saved(MailboxId mailbox, std::vector<Uid> uids) override {
        return reading(
            [mailbox, uids = std::move(uids)](const MailView& mail) { return read_saved(mail, mailbox, uids); });
    }
    Answer<std::vector<SearchVerdict>> narrow(MailboxId mailbox, std::shared_ptr<const wire::SearchProgram> program,
                                              std::vector<Uid> uids) override {
        return reading([index = index_, mailbox, program = std::move(program), uids = std::move(uids)](
                           const MailView& mail) { return narrow_search(mail, index, mailbox, *program, uids); });
    }
    Answer<std::vector<Uid>> search(MailboxId mailbox, std::shared_ptr<const wire::SearchProgram> program,
                                    std::vector<SearchCandidate> candidates) override {
        return reading([index = index_, mailbox, program = std::move(program), candidates = std::move(candidates)](
                           const MailView& mail) { return run_search(mail, index, mailbox, *program, candidates); });
    }

    Answer<void> sort(MailboxId mailbox, std::vector<ListedLine> lines, std::shared_ptr<wire::Sorter> into) override {
        return reading([mailbox, lines = std::move(lines), into = std::move(into)](const MailView& mail) {
            return gather_sort(mail, mailbox, lines, *into);
        });
    }
    Answer<void> thread(MailboxId mailbox, std::vector<ListedLine> lines,
                        std::shared_ptr<wire::Threader> into) override {
        return reading([mailbox, lines = std::move(lines), into = std::move(into)](const MailView& mail) {
            return gather_threads(mail, mailbox, lines, *into);
        });
    }
    Answer<void> compute(std::function<void()> work) override {
        auto job = [work = std::move(work)]() -> Result<> {
            work();
            return {};
        };
        return net::offload(pool_, loop_, std::move(job));
    }

    Answer<std::vector<Uid>> expunged_since(MailboxId mailbox, ModSeq since) override {
        return reading([mailbox, since](const MailView& mail) { return mail.expunged_since(mailbox, since); });
    }
    Answer<storage::StoreOutcome> store(MailboxId mailbox, std::vector<Uid> uids, storage::FlagChange change,
                                        std::optional<ModSeq> unchanged_since) override {
        return writing([mailbox, uids = std::move(uids), change = std::move(change), unchanged_since](MailTx& mail) {
            return mail.store(mailbox, uids, change, unchanged_since);
        });
    }
    Answer<Copied> copy(MailboxId from, std::vector<Uid> uids, std::string to) override {
        return writing([from, uids = std::move(uids), to = std::move(to)](MailTx& mail) -> Result<Copied> {
            TRY(const Mailbox target, mail.mailbox(to));
            TRY(auto done, mail.copy(from, uids, target.id));
            return Copied(target, std::move(done));
        });
    }
    Answer<Copied> move(MailboxId from, std::vector<Uid> uids, std::string to) override {
        return writing([from, uids = std::move(uids), to = std::move(to)](MailTx& mail) -> Result<Copied> {
            TRY(const Mailbox target, mail.mailbox(to));
            TRY(auto done, mail.move(from, uids, target.id));
            return Copied(target, std::move(done));
        });
    }
    Answer<std::vector<Uid>> expunge(MailboxId mailbox, std::vector<Uid> uids) override {
        return writing([mailbox, uids = std::move(uids)](MailTx& mail) { return mail.expunge(mailbox, uids); });
    }

    Result<std::unique_ptr<storage::BodyWriter>> stage(std::uint64_t octets) override {
        TRY_VOID(store_.check_room(octets));
        return store_.stage();
    }
    Answer<Appended> append(std::string name, std::vector<NewMessage> messages,
                            std::optional<Replaced> replaced) override {
        return append_to(std::move(name), std::move(messages), replaced);
    }

 private:
    template <class F>
    net::Task<std::invoke_result_t<F, const MailView&>> reading(F fn) {
        auto job = [account = account_, work = std::move(fn)](const Snapshot& snapshot) mutable {
            return work(snapshot.shared_mail(account));
        };
        return storage::read(store_, pool_, loop_, std::move(job));
    }
    template <class F>
    net::Task<std::invoke_result_t<F, MailTx&>> writing(F fn) {
        auto job = [account = account_, work = std::move(fn)](Tx& tx) mutable { return work(tx.shared_mail(account)); };
        std::vector<storage::StagedBodyPtr> none;
        return storage::commit(store_, loop_, std::move(none), std::move(job));
    }

    static constexpr std::uint64_t kParsedHereOctets = 32UL * 1024;

    // The facts are not computed on the commit thread: neighbours in the batch must not wait for a parse.
    net::Task<Result<Appended>> append_to(std::string name, std::vector<NewMessage> messages,
                                          std::optional<Replaced> replaced) {
        std::vector<storage::StagedBodyPtr> bodies;
        std::uint64_t octets = 0;
        for (const NewMessage& message : messages) {
            bodies.push_back(message.body);
            octets += message.body->size_octets();
        }
        auto compute = [bodies]() -> Result<std::vector<mime::MessageFacts>> {
            std::vector<mime::MessageFacts> out;
            for (const storage::StagedBodyPtr& body : bodies) out.push_back(mime::compute_facts(body->view()));
            return out;
        };
        // A small one is parsed sooner than another thread is awake.
        Result<std::vector<mime::MessageFacts>> computed(Errc::internal, "");
        if (octets <= kParsedHereOctets)
            computed = compute();
        else
            computed = co_await net::offload(pool_, loop_, std::move(compute));
        CO_TRY(auto facts, std::move(computed));
        auto job = [account = account_, name = std::move(name), messages = std::move(messages),
                    facts = std::move(facts), replaced](Tx& tx) -> Result<Appended> {
            MailTx& mail = tx.shared_mail(account);
            TRY(const Mailbox target, mail.mailbox(name));
            Appended out(target);
            // First what goes: only what comes in addition counts for the quota (RFC 8508 3.4).
            if (replaced) {
                const std::vector<Uid> old = {replaced->uid};
                TRY(const auto gone, mail.expunge(replaced->mailbox, old));
                if (gone.empty()) return Error(Errc::conflict, "the message to replace is gone");
            }
            for (std::size_t i = 0; i < messages.size(); ++i) {
                TRY(const storage::MessageId message, tx.add_message(messages[i].body, facts[i]));
                if (messages.size() == 1 && (!replaced || replaced->mailbox != target.id)) {
                    // The server filed it at submission: the client gets that one.
                    TRY(const auto filed,
                        storage::find_filed(tx, account, target, facts[i], *messages[i].body, messages[i].options));
                    if (filed) {
                        out.uids.push_back(filed->uid);
                        continue;
                    }
                }
                TRY(const Entry entry, mail.append(target.id, message, messages[i].options));
                out.uids.push_back(entry.uid);
            }
            return out;
        };
        co_return co_await storage::commit(store_, loop_, std::move(bodies), std::move(job));
    }

    storage::Store& store_;
    storage::search::SearchIndex* index_;
    MailboxCache& cache_;
    net::Loop& loop_;
    net::ThreadPool& pool_;
    storage::AccountId account_;
};

}  // namespace

std::unique_ptr<Access> make_store_access(storage::Store& store, storage::search::SearchIndex* index,
                                          MailboxCache& cache, net::Loop& loop, net::ThreadPool& read_pool,
                                          storage::AccountId account) {
    return std::make_unique<StoreAccess>(store, index, cache, loop, read_pool, account);
}

}  // namespace posthouse::server::imap
