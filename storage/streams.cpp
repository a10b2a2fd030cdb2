#include "storage/streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "protocols/base/ascii.h"
#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/settings.h"
#include "storage/signed_token.h"
#include "storage/suppression.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kNumberDigits = 16;
constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kGrainDays = 30;  // last_day is no finer: most mail changes nothing

// Over the number and what it stands for: a number alone says nothing that could be changed unseen.
std::string make_token(std::string_view sealing_key, std::int64_t number, const Subscription& who) {
    return signed_token(sealing_key, "unsubscribe", fmt::format("{:0{}x}", number, kNumberDigits),
                        fmt::format("{}\n{}\n{}", number, who.stream, who.address));
}

std::optional<std::int64_t> number_of(std::string_view token) {
    if (token.size() != kNumberDigits + 2 * kTokenSignatureOctets) return std::nullopt;
    std::int64_t out = 0;
    const char* const end = token.data() + kNumberDigits;
    const auto read = std::from_chars(token.data(), end, out, 16);
    if (read.ec != std::errc() || read.ptr != end || out <= 0) return std::nullopt;
    return out;
}

Stream stream_of(const Query& row) {
    Stream out;
    out.name = row.text(0);
    out.owner = row.text(1);
    out.mail_class = static_cast<QueueClass>(std::clamp<std::int64_t>(row.i64(2), 0, 2));
    out.is_list = row.flag(3);
    out.created = row.time(4);
    return out;
}

Result<> check(const Stream& stream) {
    if (!is_stream_name(stream.name)) {
        return Error(Errc::invalid, fmt::format("the name of a stream is 1 to {} lower-case letters, digits, '-' and "
                                                "'_', and begins with a letter",
                                                kStreamNameMax));
    }
    if (stream.owner.empty() || std::ranges::any_of(stream.owner, ascii::is_space)) {
        return Error(Errc::invalid, "a stream belongs to a domain or to an account");
    }
    return {};
}

}  // namespace

bool is_stream_name(std::string_view name) {
    const auto fits = [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_'; };
    if (std::ranges::any_of(name, [](char c) { return c != ascii::lower(c); })) return false;
    return !name.empty() && name.size() <= kStreamNameMax && ascii::is_alpha(name.front()) &&
           std::ranges::all_of(name, fits);
}

bool may_use(const Stream& stream, std::string_view author, std::string_view login) {
    if (stream.owner.contains('@')) return ascii::equals_ci(stream.owner, login);
    return ascii::equals_ci(stream.owner, author.substr(author.rfind('@') + 1));
}

Result<std::string> unsubscribe_url(const CatalogView& catalog, std::string_view hostname) {
    TRY(std::string url, setting_text(catalog, "unsubscribe.url"));
    if (url.empty()) url = fmt::format("https://{}", hostname);
    if (url.ends_with('/')) url.pop_back();
    return url;
}

StreamView::StreamView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
StreamView::StreamView(Tx& tx) : db_(context_of(tx).db) {}

Result<std::vector<Stream>> StreamView::list() const {
    Query q = db_.query("SELECT name, owner, class, is_list, created_ms FROM streams ORDER BY name");
    std::vector<Stream> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(stream_of(q));
    }
}

Result<std::optional<Stream>> StreamView::find(std::string_view name) const {
    Query q = db_.query("SELECT name, owner, class, is_list, created_ms FROM streams WHERE name = ?1");
    TRY(const bool found, q.bind(name).row());
    return found ? std::optional(stream_of(q)) : std::nullopt;
}

Result<std::uint64_t> StreamView::recipient_count(std::string_view stream) const {
    Query q = db_.query("SELECT count(*) FROM stream_recipients WHERE stream = ?1");
    TRY_VOID(q.bind(stream).row());
    return q.u64(0);
}

Result<std::string> StreamView::token(std::string_view stream, std::string_view address,
                                      std::string_view sealing_key) const {
    const Subscription who(std::string(stream), ascii::to_lower(address));
    Query q = db_.query("SELECT id FROM stream_recipients WHERE stream = ?1 AND address = ?2");
    TRY(const bool found, q.bind(std::string_view(who.stream), std::string_view(who.address)).row());
    return found ? make_token(sealing_key, q.i64(0), who) : std::string();
}

Result<std::optional<Subscription>> StreamView::open(std::string_view token, std::string_view sealing_key) const {
    const std::string given = ascii::to_lower(token);
    const auto number = number_of(given);
    if (!number) return std::optional<Subscription>();
    Query q = db_.query("SELECT stream, address FROM stream_recipients WHERE id = ?1");
    TRY(const bool found, q.bind(*number).row());
    if (!found) return std::optional<Subscription>();
    Subscription who(q.text(0), q.text(1));
    const bool is_ours = is_same_token(make_token(sealing_key, *number, who), given);
    return is_ours ? std::optional(std::move(who)) : std::nullopt;
}

StreamTx::StreamTx(Tx& tx) : StreamView(tx), tx_(tx) {}

Result<> StreamTx::add(const Stream& stream) {
    TRY_VOID(check(stream));
    TRY(const auto taken, find(stream.name));
    if (taken) return Error(Errc::already_exists, fmt::format("there is a stream {} already", stream.name));
    TRY(const std::int64_t count, db_.value("SELECT count(*) FROM streams"));
    if (static_cast<std::size_t>(count) >= kStreamsMax) {
        return Error(Errc::limit, fmt::format("there are {} streams: remove some first", count));
    }
    return db_.query("INSERT INTO streams VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(std::string_view(stream.name), std::string_view(stream.owner), stream.mail_class, stream.is_list,
              tx_.now())
        .run();
}

Result<> StreamTx::set(const Stream& stream) {
    TRY_VOID(check(stream));
    TRY_VOID(db_.query("UPDATE streams SET owner = ?2, class = ?3, is_list = ?4 WHERE name = ?1")
                 .bind(std::string_view(stream.name), std::string_view(stream.owner), stream.mail_class, stream.is_list)
                 .run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no stream {}", stream.name));
    return {};
}

Result<> StreamTx::remove(std::string_view name) {
    TRY_VOID(db_.query("DELETE FROM streams WHERE name = ?1").bind(name).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no stream {}", name));
    return {};
}

Result<> StreamTx::subscribe(std::string_view stream, std::string_view address) {
    const std::string folded = ascii::to_lower(address);
    const std::int64_t today = to_unix_ms(tx_.now()) / kDayMs;
    return db_
        .query(
            "INSERT INTO stream_recipients (stream, address, last_day) VALUES (?1, ?2, ?3) ON CONFLICT (stream, "
            "address) "
            "DO UPDATE SET last_day = excluded.last_day WHERE last_day <= excluded.last_day - ?4")
        .bind(stream, std::string_view(folded), today, kGrainDays)
        .run();
}

Result<std::optional<Subscription>> StreamTx::unsubscribe(std::string_view token, std::string_view sealing_key,
                                                          std::string_view how) {
    TRY(auto who, open(token, sealing_key));
    if (!who) return who;
    const std::vector<std::string> scopes{who->stream};
    const std::vector<std::string> addresses{who->address};
    const SuppressionTx suppressions(tx_);
    TRY(const auto before, suppressions.find(scopes, addresses, tx_.now()));
    const auto known = std::ranges::find(before, SuppressionReason::unsubscribed, &Suppression::reason);
    if (known != before.end()) return who;
    SuppressionProof proof(SuppressionReason::unsubscribed, fmt::format("unsubscribed {}", how), who->address);
    TRY_VOID(SuppressionTx(tx_).add(who->stream, who->address, proof));
    return who;
}

}  // namespace posthouse::storage
