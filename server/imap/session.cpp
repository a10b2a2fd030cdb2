#include "server/imap/session.h"

#include <algorithm>
#include <array>

#include "protocols/base/log.h"
#include "protocols/imap/grammar.h"
#include "server/auth/exchange.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

constexpr std::chrono::milliseconds kGoodbyeMax{5'000};
constexpr std::size_t kPendingOctetsMax = 64UL * 1024;

// A browser made to speak to a mail port (ALPACA): the tag would be an HTTP method.
bool is_http(std::string_view line) {
    constexpr std::array<std::string_view, 6> kMethods = {"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT "};
    for (const std::string_view method : kMethods) {
        if (line.starts_with(method)) return true;
    }
    return false;
}

}  // namespace

Session::Session(std::shared_ptr<const SessionDeps> deps, std::unique_ptr<net::Stream> stream)
    : shared_deps_(std::move(deps)),
      deps_(*shared_deps_),
      stream_(std::move(stream)),
      reader_(stream_, deps_.limits),
      wake_(*deps_.loop) {}

Session::~Session() {
    watch_.reset();
    account_watches_ = AccountWatches();
    metadata_.reset();
}

void Session::enter(Phase phase) {
    const bool login = phase_ == Phase::not_authenticated && phase == Phase::authenticated;
    const bool within = phase_ != Phase::not_authenticated && phase_ != Phase::logout &&
                        (phase == Phase::authenticated || phase == Phase::selected);
    const bool back = phase_ == Phase::authenticated && phase == Phase::not_authenticated;
    ASSERT(login || within || back || phase == Phase::logout);
    phase_ = phase;
}

bool Session::may_login() const {
    if (is_secure()) return true;
    return deps_.clear_login == ClearLogin::from_loopback && stream_.raw().peer().address.is_loopback();
}

std::string Session::capabilities() const {
    std::string out;
    const auto add = [&](std::string_view text) {
        while (!text.empty()) {
            const std::string_view name = text.substr(0, text.find(' '));
            text.remove_prefix(std::min(name.size() + 1, text.size()));
            if (!offers(name)) continue;
            if (!out.empty()) out += ' ';
            out += name;
        }
    };
    const auto announced = [&](std::uint8_t where) { return (where & static_cast<std::uint8_t>(phase_)) != 0; };
    for (const Extension& extension : extensions()) {
        if (!announced(extension.phases)) continue;
        add(extension.capability);
    }
    for (const auto& rows : all_commands()) {
        for (const Command& row : rows) {
            // What comes with login is announced before it too; what ends with login is not announced after it.
            if (row.phases == kBeforeLogin && phase_ != Phase::not_authenticated) continue;
            if (row.capability == "STARTTLS" && !offers_starttls()) continue;
            add(row.capability);
        }
    }
    add("APPENDLIMIT=" + std::to_string(deps_.limits.message_octets_max));  // RFC 7889 2
    if (phase_ != Phase::not_authenticated) return out;
    if (!may_login()) {
        add("LOGINDISABLED");
        return out;
    }
    for (const std::string& mechanism : offered_mechanisms(*deps_.authenticator, stream_.raw().tls_binding())) {
        add("AUTH=" + mechanism);
    }
    return out;
}

bool Session::offers(std::string_view capability) const {
    if (deps_.switches == nullptr || deps_.switches->current().empty()) return true;
    return !deps_.switches->current().is_off(capability, account_, client_);
}

bool Session::offers(const Command& row) const {
    return deps_.switches == nullptr || !deps_.switches->current().is_off(row, account_, client_);
}

bool Session::set_client(std::string_view name) {
    if (name.empty()) return false;  // who was named before has not become another
    const bool has_switches = deps_.switches != nullptr && !deps_.switches->current().empty();
    const std::string before = has_switches ? capabilities() : std::string();
    client_ = ascii::to_lower(name);
    if (!has_switches) return false;
    if (!selected_) end_unoffered();
    return capabilities() != before;
}

// RFC 5161 knows no way back from ENABLE, and what a mailbox was told by (VANISHED, numbers or none) cannot change
// while it is selected: what is off by now ends where none is.
void Session::end_unoffered() {
    unsigned kept = 0;
    for (const Enabling& row : enablings()) {
        if (offers(row.name)) kept |= row.enables;
    }
    enabled_ &= static_cast<std::uint8_t>(kept);
    if (!has(Enabled::metadata)) metadata_.reset();
    if (!notifier_ || offers("NOTIFY")) return;
    notifier_.reset();
    account_watches_ = AccountWatches();
}

bool Session::log_in(const Identity& identity) {
    auto revoke = [this] {
        revoked_ = true;
        stream_.raw().interrupt();  // the running command ends; the next read says BYE
    };
    const Hub::Sitter sitter{identity.account, identity.credential};
    seat_ = deps_.hub->take_seat(sitter, deps_.limits.sessions_per_account_max, std::move(revoke));
    if (!seat_) return false;
    account_ = identity.account;
    account_address_ = identity.address;
    access_ = deps_.open_access(identity.account);
    enter(Phase::authenticated);
    visit_.reset();
    log::info("imap", "{} logged in from {}", account_address_, stream_.raw().peer().to_string());
    return true;
}

void Session::log_out() {
    log::info("imap", "{} logged out, the connection from {} stays", account_address_,
              stream_.raw().peer().to_string());
    unselect();
    enter(Phase::not_authenticated);
    notifier_.reset();
    account_watches_ = AccountWatches();
    metadata_.reset();
    enabled_ = 0;
    access_.reset();
    seat_.reset();
    be_stranger();
    account_ = {};
    account_address_.clear();
    reader_.reset_budget();
    stream_.raw().expires_in(deps_.limits.before_login_max);
}

void Session::compress() {
    if (deflated_ != nullptr) return deflated_->deflate_again();
    auto deflated = net::deflated(stream_.release());
    deflated_ = deflated.get();
    stream_.replace(std::move(deflated));
}

net::Task<Result<>> Session::end_compression(const Reply& reply) {
    CO_TRY_VOID(co_await flush());
    put_tagged(reply);
    std::string line;
    line.swap(stream_.output());
    co_return co_await deflated_->write_last(line);
}

// Strangers never take all the places: one who has not logged in makes room for the next.
void Session::be_stranger() {
    visit_ = deps_.hub->let_in(deps_.limits.strangers_max, [this] {
        pushed_out_ = true;
        deps_.metrics->counter("imap_strangers_refused_total", "IMAP connections ended: too many without a login")
            .add();
        stream_.raw().interrupt();  // the next read says BYE
    });
}

std::string_view Session::stop_reason() const {
    if (pushed_out_) return "[UNAVAILABLE] Too many connections without a login; try again later";
    if (revoked_) return "[AUTHORIZATIONFAILED] This login is not valid any more";
    if (mailbox_removed_) return "[NONEXISTENT] The selected mailbox was deleted";
    return "[UNAVAILABLE] Server is stopping";
}

void Session::forget_clear_text() {
    stream_.drop_buffered();
    reader_.reset_budget();
    bad_commands_ = 0;
}

void Session::select(OpenedMailbox opened, Mode mode, Uid recent_from, std::uint64_t commits) {
    // RFC 2180 3.3: whose mailbox another session deletes is disconnected, in the middle of nothing too.
    auto removed = [this] {
        if (removal_ != Removal::unexpected) {
            removal_ = Removal::seen;
            return;
        }
        mailbox_removed_ = true;
        stream_.raw().interrupt();  // the running command ends; the next read says BYE
    };
    watch_ = deps_.hub->watch(opened.mailbox.account, opened.mailbox.id, wake_, std::move(removed));
    contexts_.clear();
    own_expunged_.clear();
    own_arrived_.clear();
    unreadable_ = false;
    selected_ = std::make_unique<Selected>(std::move(opened), mode, recent_from);
    // No commit between the read and the watch: what we know is the newest. Otherwise the next tell() reads again.
    const std::uint64_t generation = watch_->generation();
    seen_generation_ = deps_.hub->commits() == commits ? generation : 0;
    wake_.reset();
    enter(Phase::selected);
}

void Session::enable(std::uint8_t bits) {
    const bool had = has(Enabled::condstore);
    enabled_ |= bits;
    if (had || !has(Enabled::condstore) || !selected_) return;
    untagged("OK [HIGHESTMODSEQ " + std::to_string(selected_->known_modseq()) + "] Highest");
}

NotifyDialect Session::notify_dialect() const {
    NotifyDialect out(has(Enabled::condstore) ? ModSeqs::told : ModSeqs::left_out, names());
    out.children = offers("CHILDREN");
    out.special_uses = offers("SPECIAL-USE");
    out.condstore = offers("CONDSTORE");
    return out;
}

Dialect Session::dialect(NumbersAre are) const {
    Dialect out(are);
    out.modseqs = has(Enabled::condstore);
    out.uidfetch = has(Enabled::uidonly);
    out.vanished = has(Enabled::qresync) || out.uidfetch;
    // Who is told of removals by UID must be able to tell other changes by UID too (RFC 7162 3.2.10), and where QRESYNC
    // may be had whoever knows mod-sequences (3.2.4).
    out.uids = out.uids || out.vanished || (out.modseqs && offers("QRESYNC"));
    // Whoever is told at any time cannot go by numbers (RFC 5465 5.1).
    out.uids = out.uids || (notifier_ && notifier_->selected() != nullptr);
    if (!has(Enabled::imap4rev2)) return out;
    // RFC 9051 E 12 and 21.
    out.uids = true;
    out.recent = false;
    return out;
}

void Session::unselect() {
    watch_.reset();
    contexts_.clear();
    selected_.reset();
    if (phase_ == Phase::selected) enter(Phase::authenticated);
    end_unoffered();
}

void Session::untagged(std::string_view data) {
    stream_.put("* ");
    stream_.put(data);
    stream_.put("\r\n");
}

net::Task<Result<>> Session::flush() {
    if (stream_.pending_output() == 0) co_return Result<>();
    if (phase_ != Phase::not_authenticated) stream_.raw().expires_in(deps_.limits.output_stall_max);
    co_return co_await stream_.flush();
}

net::Task<Result<>> Session::relieve() {
    if (stream_.pending_output() < kPendingOctetsMax) co_return Result<>();
    if (phase_ != Phase::not_authenticated) stream_.raw().expires_in(deps_.limits.output_stall_max);
    co_return co_await stream_.flush(net::BufferedStream::Buffer::kept);
}

void Session::put_tagged(const Reply& reply) {
    std::string line = tag_;
    switch (reply.kind) {
        case Reply::Kind::ok: line += " OK "; break;
        case Reply::Kind::no: line += " NO "; break;
        default: line += " BAD "; break;
    }
    if (!reply.code.empty()) line += "[" + reply.code + "] ";
    line += reply.text;
    line += "\r\n";
    stream_.put(line);
}

net::Task<void> Session::say_bye(std::string text) {
    enter(Phase::logout);
    untagged("BYE " + text);
    stream_.raw().expires_in(kGoodbyeMax);
    static_cast<void>(co_await stream_.flush());
}

void Session::set_deadline() {
    // One deadline for all that happens before login, however busily the stranger talks.
    if (phase_ != Phase::not_authenticated) stream_.raw().expires_in(deps_.limits.inactivity_max);
}

// The frames of this one and of what waits beneath it are there for as long as a client is in IDLE: what is done before
// a command runs, and after it, has frames of its own that are gone by then.
net::Task<void> Session::run() {
    auto& open = deps_.metrics->gauge("imap_sessions", "IMAP connections that are open");
    open.add(1);
    deps_.metrics->counter("imap_connections_total", "IMAP connections accepted").add();
    for (Next next = co_await greet(); next != Next::end; next = co_await take_command()) {
        if (next == Next::read) continue;
        Reply reply = co_await run_command(*asked_.row, asked_.args);
        const bool more = co_await finish(*asked_.row, std::move(reply));
        if (!more) break;
    }
    open.add(-1);
    unselect();
    stream_.raw().close();
}

net::Task<Session::Next> Session::greet() {
    stream_.raw().expires_in(deps_.limits.before_login_max);
    be_stranger();
    untagged("OK [CAPABILITY " + capabilities() + "] " + deps_.hostname + " Posthouse ready");
    const auto greeted = co_await stream_.flush();
    co_return greeted ? Next::read : Next::end;
}

// Reads until there is a command to run, which is then asked_.
net::Task<Session::Next> Session::take_command() {
    std::string().swap(text_);
    const bool waiting = stream_.buffered().find("\r\n") != std::string_view::npos;
    if (!waiting) {
        const auto flushed = co_await flush();
        if (!flushed) co_return Next::end;
    } else {
        const auto relieved = co_await relieve();
        if (!relieved) co_return Next::end;
    }
    set_deadline();
    if (notifier_ && stream_.buffered().empty()) {
        const auto more = co_await wait_telling();
        if (!more) co_return co_await end_after(more.error());
    }
    const Login login = phase_ == Phase::not_authenticated ? Login::before : Login::after;
    reader_.grant_plus(offers("LITERAL+"));
    auto command = co_await reader_.read(login);
    if (!command) co_return co_await end_after(command.error());
    if (!greeted_command_ && is_http(command->text)) co_return Next::end;
    text_ = std::move(command->text);
    auto asked = parse(command->refusal);
    if (!asked) co_return co_await refuse(*command, asked.error());
    asked_ = *asked;
    greeted_command_ = true;
    message_ = command->message;
    const bool allowed = co_await still_allowed();
    co_return allowed ? Next::run : Next::end;
}

// Reading failed: the session ends, with a BYE where there is somebody to hear it.
net::Task<Session::Next> Session::end_after(Error error) {
    switch (error.code) {
        case Errc::too_large: co_await say_bye("[TOOBIG] Command is too long"); break;
        case Errc::timeout: co_await say_bye("Idle for too long"); break;
        case Errc::cancelled: co_await say_bye(std::string(stop_reason())); break;
        default: break;
    }
    co_return Next::end;
}

// Answers BAD; false where a stranger has sent too much that is none.
bool Session::bad_command(std::string_view tag, std::string_view text) {
    stream_.put(tag.empty() ? "*" : tag);
    stream_.put(" BAD ");
    stream_.put(text);
    stream_.put("\r\n");
    if (phase_ != Phase::not_authenticated) return true;
    return ++bad_commands_ < deps_.limits.before_login_bad_commands_max;
}

// What text_ asks for. Errc::invalid: what to answer BAD with.
Result<Asked> Session::parse(std::string_view refusal) {
    const auto refused = [](std::string_view text) { return Error(Errc::invalid, std::string(text)); };
    Cursor in(text_);
    tag_.clear();
    auto tag = wire::take_tag(in, deps_.limits);
    if (!tag) return refused("Invalid tag");
    tag_ = *std::move(tag);
    std::string verb;
    if (wire::take_space(in)) verb = ascii::to_upper(in.take_while(wire::is_atom_char));
    if (verb == "UID" && wire::take_space(in)) {
        verb += ' ';
        verb += ascii::to_upper(in.take_while(wire::is_atom_char));
    }
    const Command* row = find_command(verb);
    if (!refusal.empty()) return refused(refusal);
    if (row == nullptr || !offers(*row)) return refused("Unknown command");  // its text is never echoed
    if ((row->phases & static_cast<std::uint8_t>(phase_)) == 0) return refused("Not allowed now");
    const bool clean = row->octets == Octets::any || text_.find('\0') == std::string::npos;
    if (!clean) return refused("NUL is not allowed");
    if (!in.at_end() && !wire::take_space(in)) return refused("Missing space");
    if (has(Enabled::uidonly) && takes_numbers(*row)) return refused(kUidRequired);
    return Asked{row, in};
}

// Answers BAD and takes off the wire what came with the command.
net::Task<Session::Next> Session::refuse(const ReadCommand& command, Error error) {
    bool go_on = bad_command(tag_, error.context);
    if (go_on && command.message) {
        // An APPEND whose turn it is not: its message must not be taken for commands.
        go_on = command.message->synchronising;
        if (!go_on && command.message->octets <= deps_.limits.swallow_octets_max) {
            const auto swallowed = co_await reader_.swallow(command.message->octets);
            const auto line = co_await reader_.finish_line();
            go_on = swallowed && line;
        }
    }
    if (!go_on) co_await say_bye("Too many bad commands");
    co_return go_on ? Next::read : Next::end;
}

// No coroutine of its own.
net::Task<Reply> Session::run_command(const Command& row, Cursor args) {
    progress_ = ProgressCount();
    if (row.progress == Progress::untold || !offers("INPROGRESS")) return row.run(*this, args);
    return run_telling(row, args);
}

net::Task<Reply> Session::run_telling(const Command& row, Cursor args) {
    ProgressTeller teller(*this);
    teller.start();
    Reply reply = Reply::said();
    std::exception_ptr thrown;  // the teller must be joined in any case
    try {
        reply = co_await row.run(*this, args);
    } catch (...) {
        thrown = std::current_exception();
    }
    co_await teller.stop();
    if (thrown) std::rethrow_exception(thrown);
    co_return reply;
}

// The untagged news and the tagged answer of a command that ran.
net::Task<bool> Session::finish(const Command& row, Reply reply) {
    if (reply.kind == Reply::Kind::hang_up) {
        if (!reply.text.empty()) co_await say_bye(std::move(reply.text));
        co_return false;
    }
    if (reply.kind == Reply::Kind::said) co_return true;
    const bool uids = row.verb.starts_with("UID ");
    const NumbersAre are = uids ? NumbersAre::uids : NumbersAre::message_numbers;
    const auto told = co_await tell(row.expunges, are);
    if (!told) {
        put_tagged(reply);
        co_await say_bye(std::string(gone_reason()));
        co_return false;
    }
    const auto whole = selected_ ? selected_->take_known_whole() : std::nullopt;
    const bool says_it = whole && has(Enabled::qresync);
    if (says_it) untagged("OK [HIGHESTMODSEQ " + std::to_string(*whole) + "] All is told up to here");
    if (reply.kind == Reply::Kind::bad) co_return bad_command(tag_, reply.text);
    put_tagged(reply);
    if (phase_ != Phase::logout) co_return true;
    stream_.raw().expires_in(kGoodbyeMax);
    static_cast<void>(co_await stream_.flush());
    co_return false;
}

}  // namespace posthouse::server::imap
