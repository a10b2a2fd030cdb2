#include "storage/submissions.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/base/submission_key.h"
#include "storage/context.h"
#include "storage/settings.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kForgottenAtOnce = 20;  // each new key makes room for more than itself

Result<std::chrono::hours> lifetime(Connection& db) {
    Query q = db.query("SELECT value FROM settings WHERE key = 'submission.key_hours'");
    TRY(const bool is_set, q.row());
    const SettingRow* const row = find_setting("submission.key_hours");
    const std::string text = is_set ? q.text(0) : std::string(row->default_value);
    const auto hours = ascii::parse_number(text);
    if (!hours) return Error(Errc::corrupt, "the setting submission.key_hours is no number: set it again");
    return std::chrono::hours(*hours);
}

}  // namespace

std::string submission_owner(AccountId account) { return fmt::format("a{}", raw(account)); }
std::string submission_owner(RelayClientId client) { return fmt::format("c{}", raw(client)); }

SubmissionView::SubmissionView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::optional<KeptSubmission>> SubmissionView::find(std::string_view owner, std::string_view key,
                                                           Time now) const {
    TRY(const std::chrono::hours lives, lifetime(db_));
    Query q =
        db_.query("SELECT digest, message, queue, answer, made_ms FROM submission_keys WHERE owner = ?1 AND key = ?2");
    TRY(const bool found, q.bind(owner, key).row());
    std::optional<KeptSubmission> out;
    if (!found || q.time(4) + lives <= now) return out;
    out.emplace();
    out->digest = q.text(0);
    out->message = q.id<MessageId>(1);
    out->queue = q.id<QueueId>(2);
    out->answer = q.text(3);
    out->made = q.time(4);
    return out;
}

Result<std::optional<SubmissionNotes>> SubmissionView::notes(MessageId message) const {
    Query q = db_.query("SELECT account, tags, metadata FROM submission_notes WHERE message = ?1");
    TRY(const bool found, q.bind(message).row());
    if (!found) return std::optional<SubmissionNotes>();
    return std::optional(SubmissionNotes{q.id<AccountId>(0), q.text(1), q.text(2)});
}

SubmissionTx::SubmissionTx(Tx& tx) : SubmissionView(context_of(tx).db), tx_(tx) {}

Result<> SubmissionTx::keep(std::string_view owner, std::string_view key, const KeptSubmission& kept) {
    if (!is_submission_key(key)) return Error(Errc::invalid, "this is no idempotency key");
    // One that was forgotten in time, but not yet thrown away.
    TRY_VOID(db_.query("DELETE FROM submission_keys WHERE owner = ?1 AND key = ?2").bind(owner, key).run());
    TRY_VOID(
        db_.query("INSERT INTO submission_keys (owner, key, digest, message, queue, answer, made_ms) "
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .bind(owner, key, Blob(kept.digest), kept.message, kept.queue, std::string_view(kept.answer), tx_.now())
            .run());
    return forget_old();
}

// Ids grow with time: the oldest stand at the front.
Result<> SubmissionTx::forget_old() {
    TRY(const std::chrono::hours lives, lifetime(db_));
    return db_
        .query(
            "DELETE FROM submission_keys WHERE id IN (SELECT id FROM submission_keys ORDER BY id LIMIT ?1) AND "
            "(made_ms <= ?2 OR id <= (SELECT max(id) FROM submission_keys) - ?3)")
        .bind(kForgottenAtOnce, tx_.now() - lives, kSubmissionKeysMax)
        .run();
}

Result<> SubmissionTx::note(MessageId message, const SubmissionNotes& notes) {
    return db_.query("INSERT OR REPLACE INTO submission_notes VALUES (?1, ?2, ?3, ?4)")
        .bind(message, notes.account, std::string_view(notes.tags), std::string_view(notes.metadata))
        .run();
}

}  // namespace posthouse::storage
