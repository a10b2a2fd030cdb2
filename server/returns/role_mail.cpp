#include "server/returns/role_mail.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/report/dmarc_report.h"
#include "protocols/smtp/presets.h"
#include "server/returns/report_proof.h"
#include "storage/dmarc_origins.h"
#include "storage/role_mail.h"
#include "storage/settings.h"

namespace posthouse::server {

namespace {

constexpr std::chrono::seconds kLook{60};
constexpr std::chrono::milliseconds kAtOnce{0};
constexpr storage::Uid kWindow = 500;  // UIDs that are looked at together
constexpr std::chrono::hours kDay{24};

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0) out.push_back(ascii::to_lower(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

// Who complains, not who reports a phish or says that it was no spam.
bool is_complaint(report::FeedbackType type) {
    using report::FeedbackType;
    return type == FeedbackType::abuse || type == FeedbackType::opt_out || type == FeedbackType::fraud ||
           type == FeedbackType::virus;
}

std::string include_of(const std::string& preset) {
    const smtp::Preset* const known = smtp::find_preset(preset);
    return known == nullptr ? std::string() : smtp::spf_include_of(*known);
}

storage::DmarcEntry entry_of(const report::DmarcReport& report) {
    storage::DmarcEntry out;
    out.organization = report.organization;
    out.report_id = report.id;
    out.domain = ascii::to_lower(report.domain);
    out.begin_s = report.begin;
    out.end_s = report.end;
    out.policy = report.policy;
    for (const report::DmarcRecord& record : report.records) {
        storage::DmarcRow row;
        row.source_ip = record.source_ip;
        row.messages = record.count;
        row.disposition = record.disposition;
        row.dkim = record.dkim == "pass";
        row.spf = record.spf == "pass";
        row.header_from = record.header_from;
        if (!record.dkim_results.empty()) {
            const report::DmarcResult& first = record.dkim_results.front();
            row.dkim_domain = first.selector.empty() ? first.domain : first.domain + "/" + first.selector;
        }
        if (!record.spf_results.empty()) row.spf_domain = record.spf_results.front().domain;
        out.messages += row.messages;
        if (row.dkim || row.spf) out.passed += row.messages;
        out.rows.push_back(std::move(row));
    }
    return out;
}

}  // namespace

Result<std::optional<Complained>> find_complained(const storage::Snapshot& snapshot, const report::Complaint& complaint,
                                                  const std::optional<mailauth::ReturnToken>& token,
                                                  const std::vector<std::string>& vouching, Time now) {
    Complained out;
    auto sent = token ? find_sent(snapshot, *token)
                      : find_sent_by_id(snapshot, complaint.original_message_id, now - kDay * kJoinDays);
    const bool is_unknown = !sent && (sent.error().code == Errc::refused || sent.error().code == Errc::unavailable);
    if (is_unknown) return std::optional<Complained>();
    if (!sent) return Error(sent.error());
    out.by_token = token.has_value();
    out.sent = *std::move(sent);
    for (const std::string& address : out.sent.recipients) {
        const bool is_named = std::ranges::any_of(
            complaint.recipients, [&](const std::string& named) { return ascii::equals_ci(named, address); });
        if (is_named) out.recipients.push_back(address);
    }
    // Many who report leave out the address: where there is one only, it is known.
    if (complaint.recipients.empty() && out.sent.recipients.size() == 1) out.recipients = out.sent.recipients;
    // Named, and nobody that we wrote to: about another's mail.
    if (!complaint.recipients.empty() && out.recipients.empty()) return std::optional<Complained>();
    for (const std::string& address : out.recipients) {
        const auto host = out.sent.hosts.find(address);
        const bool by_host = host != out.sent.hosts.end() && vouches(vouching, host->second);
        if (by_host || vouches(vouching, address)) out.vouched.insert(address);
    }
    return std::optional(std::move(out));
}

Result<bool> record_complaint(storage::Tx& tx, const Complained& about, const report::Complaint& complaint) {
    TRY(const auto events, tx.events().by_queue(about.sent.queue));
    std::vector<std::string> recipients = about.recipients;
    if (recipients.empty()) recipients.emplace_back();
    const std::string who = complaint.reporting_mta.empty() ? complaint.user_agent : complaint.reporting_mta;
    const std::string words = fmt::format("{} reported by {}", report::to_string(complaint.type),
                                          who.empty() ? std::string_view("its receiver") : std::string_view(who));
    bool is_new = false;
    for (const std::string& recipient : recipients) {
        const bool is_known = std::ranges::any_of(events, [&](const storage::Event& event) {
            return event.kind == storage::EventKind::complained && event.recipient == recipient;
        });
        if (is_known) continue;
        is_new = true;
        storage::Event event;
        event.at = tx.now();
        event.kind = storage::EventKind::complained;
        event.message = about.sent.message;
        event.queue = about.sent.queue;
        event.message_id = about.sent.message_id;
        event.sender = about.sent.sender;
        event.recipient = recipient;
        event.detail = words;
        if (const auto known = about.sent.facts.find(recipient); known != about.sent.facts.end()) {
            event.facts = known->second;
            event.facts.marks.clear();
        }
        TRY_VOID(tx.events().append(event));
        if (recipient.empty()) continue;
        const bool is_proven = about.by_token || about.vouched.contains(recipient);
        if (is_proven) TRY_VOID(note_evidence(tx, about.sent, recipient, Evidence::complained));
        storage::SuppressionProof proof(storage::SuppressionReason::complaint, words, who);
        if (!about.by_token) proof.until = tx.now() + kDay * kComplaintDays;
        const std::string_view domain = std::string_view(about.sent.sender).substr(about.sent.sender.rfind('@') + 1);
        const std::string_view scope = event.facts.stream.empty() ? domain : std::string_view(event.facts.stream);
        TRY_VOID(storage::SuppressionTx(tx).add(scope, recipient, proof));
    }
    return is_new;
}

namespace {

class RoleMailJob final : public storage::Job {
 public:
    RoleMailJob(storage::Store& store, Metrics& metrics, const Clock& clock, std::string hostname,
                TakeTlsReport take_tls)
        : store_(store),
          metrics_(metrics),
          clock_(clock),
          hostname_(std::move(hostname)),
          take_tls_(std::move(take_tls)) {}
    std::string_view name() const override { return kRoleMailJob; }
    Result<std::chrono::milliseconds> step() override;

 private:
    struct Place {
        storage::AccountId account{};
        storage::MailboxId mailbox{};
        storage::Uid from = 0;  ///< the first that was not read
        storage::Uid next = 0;  ///< UIDNEXT
    };
    /// One mail, and what it changes when its reading is written down.
    struct Reading {
        std::string kind = "other";
        std::function<Result<>(storage::Tx&)> write;
    };

    Result<std::vector<Place>> places();
    Result<bool> read_place(const Place& place);
    Result<> read_one(const Place& place, storage::Uid uid);
    Result<Reading> understand(const std::string& message);
    Result<Reading> complaint(const report::Complaint& complaint, const std::string& message);
    Result<Reading> bounce(const report::Bounce& bounce, const std::string& message);
    Result<> set_read(const Place& place, storage::Uid uid, const Reading& reading);

    storage::Store& store_;
    Metrics& metrics_;
    const Clock& clock_;
    std::string hostname_;
    TakeTlsReport take_tls_;
    std::string told_;  ///< addresses of the setting that are no accounts, as it was told last
};

Result<std::chrono::milliseconds> RoleMailJob::step() {
    TRY(const auto todo, places());
    bool more = false;
    for (const Place& place : todo) {
        if (stopping()) break;
        TRY(const bool has_more, read_place(place));
        more = more || has_more;
    }
    return more ? kAtOnce : std::chrono::milliseconds(kLook);
}

Result<std::vector<RoleMailJob::Place>> RoleMailJob::places() {
    std::string unknown;
    auto look = [&](const storage::Snapshot& snapshot) -> Result<std::vector<Place>> {
        std::vector<Place> out;
        TRY(const std::string setting, storage::setting_text(snapshot.catalog(), "reports.mailboxes"));
        for (const std::string& address : words_of(setting)) {
            const auto account = snapshot.catalog().account(address);
            if (!account && account.error().code != Errc::not_found) return Error(account.error());
            if (!account) {
                unknown += " " + address;
                continue;
            }
            TRY(const auto boxes, snapshot.mail(account->id).mailboxes());
            for (const storage::Mailbox& box : boxes) {
                const bool is_read = box.name == "INBOX" || box.special_use == storage::SpecialUse::junk;
                if (!is_read || box.account != account->id) continue;
                TRY(const storage::Uid read, storage::RoleMailView(snapshot).read_up_to(box.id));
                if (read + 1 < box.uid_next) out.push_back(Place{account->id, box.id, read + 1, box.uid_next});
            }
        }
        return out;
    };
    auto out = store_.read(look);
    if (unknown != told_) {
        told_ = unknown;
        if (!unknown.empty()) {
            log::warn("role-mail", "reports.mailboxes names what is no account:{}; name accounts, not aliases",
                      unknown);
        }
    }
    return out;
}

// True where there is more of it.
Result<bool> RoleMailJob::read_place(const Place& place) {
    const storage::Uid last = std::min<storage::Uid>(place.next - 1, place.from + kWindow - 1);
    TRY(auto entries, store_.read([&](const storage::Snapshot& snapshot) {
        return snapshot.mail(place.account).entries(place.mailbox, place.from, last);
    }));
    const bool is_cut = entries.size() > kRoleMailsAStep;
    if (is_cut) entries.resize(kRoleMailsAStep);
    for (const storage::Entry& entry : entries) {
        if (stopping()) return false;
        TRY_VOID(read_one(place, entry.uid));
    }
    // Those that changed nothing are marked as read together.
    TRY_VOID(set_read(place, is_cut ? entries.back().uid : last, Reading()));
    return is_cut || last + 1 < place.next;
}

Result<> RoleMailJob::read_one(const Place& place, storage::Uid uid) {
    auto load = [&](const storage::Snapshot& snapshot) -> Result<std::string> {
        TRY(const storage::BodyReader body, snapshot.mail(place.account).body(place.mailbox, uid));
        return body.size_octets() > kRoleMailOctetsMax ? Result<std::string>("") : body.read_all();
    };
    const auto message = store_.read(load);
    if (!message && message.error().code != Errc::not_found && message.error().code != Errc::corrupt) {
        return Error(message.error());
    }
    Reading reading;
    if (message) {
        TRY(reading, understand(*message));
    }
    if (reading.write) TRY_VOID(set_read(place, uid, reading));
    metrics_
        .counter("role_mail_total", "Mails in mailboxes that collect reports, by what they were",
                 fmt::format("kind=\"{}\"", reading.kind))
        .add();
    if (reading.kind != "other") log::info("role-mail", "a mail was read: {}", reading.kind);
    return {};
}

Result<> RoleMailJob::set_read(const Place& place, storage::Uid uid, const Reading& reading) {
    return store_.write({}, [&](storage::Tx& tx) -> Result<> {
        if (reading.write) TRY_VOID(reading.write(tx));
        TRY_VOID(storage::RoleMailTx(tx).set_read(place.mailbox, uid));
        return storage::RoleMailTx(tx).forget_gone();
    });
}

Result<RoleMailJob::Reading> RoleMailJob::understand(const std::string& message) {
    if (const auto found = report::read_complaint(message)) return complaint(*found, message);
    if (const auto found = report::read_dmarc_report(message)) {
        Reading out;
        out.kind = "dmarc";
        out.write = [entry = entry_of(*found)](storage::Tx& tx) -> Result<> {
            TRY(const bool is_new, storage::RoleMailTx(tx).add_dmarc_report(entry));
            return is_new ? storage::judge_dmarc_day(tx, include_of, entry) : Result<>();
        };
        return out;
    }
    if (take_tls_) {
        // Kept once by its own name: read again after a crash it changes nothing.
        const auto taken = take_tls_(store_, message);
        Reading out;
        out.kind = "tls";
        if (taken) return out;
        const Errc code = taken.error().code;
        const bool is_none = code == Errc::not_found || code == Errc::invalid || code == Errc::too_large;
        if (!is_none) return Error(taken.error());
    }
    if (const auto found = report::read_bounce(message)) return bounce(*found, message);
    return Reading();
}

Result<RoleMailJob::Reading> RoleMailJob::complaint(const report::Complaint& complaint, const std::string& message) {
    Reading out;
    out.kind = is_complaint(complaint.type) ? "complaint-unknown" : "feedback";
    if (!is_complaint(complaint.type)) return out;
    const auto token = find_token(message, mailauth::return_keys(store_.sealing_key()), clock_.now());
    const auto vouching = vouching_domains(message, hostname_);
    TRY(const auto about, store_.read([&](const storage::Snapshot& snapshot) {
        return find_complained(snapshot, complaint, token, vouching, clock_.now());
    }));
    if (!about) return out;
    out.kind = "complaint";
    out.write = [about = *about, complaint](storage::Tx& tx) -> Result<> {
        TRY_VOID(record_complaint(tx, about, complaint));
        return {};
    };
    return out;
}

// Why a report of this recipient without a token counts for nothing; "" where it counts.
std::string doubt_of(const SentMail& sent, const LateNews& news, const report::Bounce& bounce,
                     const std::vector<std::string>& vouching) {
    const auto facts = sent.facts.find(news.recipient);
    if (facts != sent.facts.end() && facts->second.has(storage::kUnderToken)) {
        return "the message left under a token that the report does not bear";
    }
    if (!bounce.from_daemon) return "no mail system says that it wrote the report";
    const auto host = sent.hosts.find(news.recipient);
    const std::string took = host == sent.hosts.end() ? std::string() : host->second;
    if (vouches(vouching, news.recipient) || vouches(vouching, took)) return "";
    return fmt::format("neither SPF nor DKIM of the report is of {}{}{}",
                       news.recipient.substr(news.recipient.rfind('@') + 1), took.empty() ? "" : " or of ", took);
}

Result<RoleMailJob::Reading> RoleMailJob::bounce(const report::Bounce& bounce, const std::string& message) {
    Reading out;
    out.kind = "bounce-unknown";
    const auto token = find_token(message, mailauth::return_keys(store_.sealing_key()), clock_.now());
    const auto sent = store_.read([&](const storage::Snapshot& snapshot) {
        return token ? find_sent(snapshot, *token)
                     : find_sent_by_id(snapshot, bounce.original_message_id, clock_.now() - kDay * kJoinDays);
    });
    // Still under way: what it says will have been said by then.
    const bool is_unknown =
        !sent && (sent.error().code == Errc::refused || (token && sent.error().code == Errc::unavailable));
    if (!sent && !is_unknown) return Error(sent.error());
    if (!sent) return out;
    std::vector<LateNews> proven = news_of(*sent, bounce);
    std::vector<std::pair<LateNews, std::string>> doubtful;
    if (!token) {
        // It must say itself whom it is about.
        std::erase_if(proven, [](const LateNews& one) { return !one.is_named; });
        const auto vouching = vouching_domains(message, hostname_);
        for (const LateNews& one : proven) {
            if (std::string why = doubt_of(*sent, one, bounce, vouching); !why.empty()) doubtful.emplace_back(one, why);
        }
        std::erase_if(proven, [&](const LateNews& one) {
            return std::ranges::any_of(doubtful, [&](const auto& two) { return two.first.recipient == one.recipient; });
        });
    }
    if (proven.empty() && doubtful.empty()) return out;
    out.kind = proven.empty() ? "bounce-unproven" : "bounce";
    out.write = [sent = *sent, proven = std::move(proven),
                 doubtful = std::move(doubtful)](storage::Tx& tx) -> Result<> {
        for (const auto& [news, why] : doubtful) TRY_VOID(note_unproven(tx, sent, news, why));
        return record_news(tx, sent, proven);
    };
    return out;
}

}  // namespace

std::unique_ptr<storage::Job> make_role_mail_job(storage::Store& store, Metrics& metrics, const Clock& clock,
                                                 std::string hostname, TakeTlsReport take_tls) {
    return std::make_unique<RoleMailJob>(store, metrics, clock, std::move(hostname), std::move(take_tls));
}

}  // namespace posthouse::server
