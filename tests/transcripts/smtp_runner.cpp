/// Plays tests/transcripts/smtp/*.txt against the real session, the real backend and a store in a temporary directory.
///
/// Set-up:  @server smtp|submission   @tls   @account address password   @alias address target...   @domain name
///          @misaligned DOMAIN (receivers will not believe mail from there)
///          @set hostname= message_octets_max= recipients_max= mails_max= errors_max= idle_commands_max= idle_ms=
///               starttls=no
/// Steps:   @check mailbox ADDRESS FOLDER COUNT         @check queue COUNT (recipients waiting)
///          @check message ADDRESS N contains|lacks|starts|ends TEXT (escapes as in @raw; N counts from 1, INBOX)
///          @check count ADDRESS N TIMES TEXT           @check recipient ADDRESS NOTIFYBITS ORCPT
///          @check queued contains TEXT (the body of the first item)
///          @check metric NAME{labels} VALUE            @stop (the server is told to stop)
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "protocols/net/memory.h"
#include "server/delivery/backend.h"
#include "server/smtp/command.h"
#include "server/smtp/extension.h"
#include "server/smtp/service.h"
#include "tests/support/loop_runner.h"
#include "tests/transcripts/transcript.h"

namespace posthouse::test {

class Misaligned final : public server::smtp::AlignmentCheck {
 public:
    std::string domain;
    net::Task<Result<>> check(server::smtp::AlignmentQuestion question) override {
        if (question.author_domain != domain || !question.sender.ends_with("@" + domain)) co_return Result<>();
        co_return Error(Errc::denied, "DMARC of " + domain + " asks receivers to reject this");
    }
};

namespace {

class TempDir {
 public:
    TempDir() {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-smtp-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        path_ = pattern;
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::string& path() const { return path_; }

 private:
    std::string path_;
};

template <class T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "set-up: %s\n", result.error().context.c_str());
        std::exit(2);
    }
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

class SmtpWorld final : public World {
 public:
    explicit SmtpWorld(const Transcript& transcript)
        : transcript_(transcript), options_(hostname(), kind()), pool_("test", 2), group_(loop) {
        must(crypto::init());
        apply_settings();
        storage::StoreOptions store_options;
        store_options.directory = dir_.path() + "/data";
        store_options.free_octets_min = 1024 * 1024;
        store_ = must(storage::Store::create(store_options));
        must(store_->write({}, [this](storage::Tx& tx) { return fill(tx.catalog()); }));
        make_certificate();
        authenticator_ = server::make_authenticator(*store_, loop, pool_, system_clock(), metrics_);
        directory_ = must(server::Directory::open(*store_, loop, pool_));
        backend_ = server::make_backend(*store_, loop, pool_, *authenticator_, *directory_, options_.hostname,
                                        system_clock(), metrics_);
        if (transcript_.setting("starttls", "yes") == "yes") deps_.tls = tls_.get();
        deps_.options = &options_;
        deps_.backend = backend_.get();
        deps_.metrics = &metrics_;
        if (const Directive* const line = transcript_.find("misaligned")) {
            alignment_.domain = line->arguments.at(0);
            deps_.alignment = &alignment_;
        }
    }

    net::Task<Result<std::unique_ptr<net::Stream>>> connect(int) override {
        const std::string peer = transcript_.setting("peer", "192.0.2.7") + ":40000";
        auto pair =
            net::make_memory_pair(loop, must(net::Endpoint::parse("192.0.2.1:25")), must(net::Endpoint::parse(peer)));
        if (transcript_.find("tls") != nullptr) CO_TRY_VOID(co_await pair.first->start_tls_server(*tls_));
        streams_.push_back(pair.first.get());
        group_.spawn("session", server::smtp::serve_connection(std::move(pair.first), deps_));
        co_return std::move(pair.second);
    }

    net::Task<Result<>> perform(Directive directive) override {
        if (directive.name == "stop") {
            for (net::Stream* stream : streams_) stream->interrupt();
            co_return Result<>();
        }
        if (directive.name == "check") co_return check(directive);
        co_return Error(Errc::unsupported, "unknown directive @" + directive.name);
    }

    net::Task<void> end() { co_await group_.join(); }

    net::Loop loop;

 private:
    server::smtp::Kind kind() const {
        const Directive* server = transcript_.find("server");
        const bool submission = server != nullptr && server->rest.starts_with("submission");
        return submission ? server::smtp::Kind::submission : server::smtp::Kind::reception;
    }
    std::string hostname() const { return transcript_.setting("hostname", "mx.home.example"); }

    std::uint64_t number(std::string_view key, std::uint64_t fallback) const {
        return ascii::parse_number(transcript_.setting(key, "")).value_or(fallback);
    }
    void apply_settings() {
        server::smtp::SmtpLimits& limits = options_.limits;
        limits.message_octets_max = number("message_octets_max", limits.message_octets_max);
        limits.recipients_max = number("recipients_max", limits.recipients_max);
        limits.mails_max = number("mails_max", limits.mails_max);
        limits.errors_max = number("errors_max", limits.errors_max);
        limits.idle_commands_max = number("idle_commands_max", limits.idle_commands_max);
        limits.idle = std::chrono::milliseconds(number("idle_ms", 20'000));
    }

    Result<> fill(storage::CatalogTx& catalog) {
        TRY_VOID(catalog.add_domain("home.example"));
        bool any = false;
        for (const Directive& directive : transcript_.setup) {
            if (directive.name == "domain") TRY_VOID(catalog.add_domain(directive.arguments.at(0)));
            if (directive.name != "account") continue;
            TRY_VOID(add_account(catalog, directive.arguments.at(0), directive.arguments.at(1)));
            any = true;
        }
        if (!any) {
            TRY_VOID(add_account(catalog, "alice@home.example", "secret"));
            TRY_VOID(add_account(catalog, "bob@home.example", "secret"));
        }
        for (const Directive& directive : transcript_.setup) {
            if (directive.name == "quota") {
                TRY(const storage::Account account, catalog.account(directive.arguments.at(0)));
                TRY_VOID(catalog.set_quota(account.id, ascii::parse_number(directive.arguments.at(1)).value_or(0), 0));
            }
            if (directive.name != "alias") continue;
            std::vector<std::string> targets = directive.arguments;
            targets.erase(targets.begin());
            TRY_VOID(catalog.add_alias(directive.arguments.at(0), targets));
        }
        return {};
    }

    // A hash costs tens of milliseconds; reception has no logins.
    Result<> add_account(storage::CatalogTx& catalog, const std::string& address, const std::string& password) {
        std::string hash = "none";
        if (kind() == server::smtp::Kind::submission) {
            TRY(hash, crypto::hash_password(password));
        }
        TRY_VOID(catalog.add_account(address, hash, ""));
        return {};
    }

    void make_certificate() {
        const std::vector<std::string> names{options_.hostname};
        const auto made = must(crypto::make_self_signed(names, 30));
        std::ofstream(dir_.path() + "/cert.pem") << made.certificate_pem;
        std::ofstream(dir_.path() + "/key.pem") << made.key_pem;
        tls_ = must(net::TlsServerContext::load("smtp", dir_.path() + "/cert.pem", dir_.path() + "/key.pem", {}));
    }

    static Result<> wrong(std::string what) { return Error(Errc::invalid, std::move(what)); }

    Result<> check(const Directive& directive) {
        const auto& words = directive.arguments;
        const std::string what = words.empty() ? "" : words[0];
        if (what == "mailbox" && words.size() == 4) return check_mailbox(words[1], words[2], words[3]);
        if (what == "queue" && words.size() == 2) return check_queue(words[1]);
        if (what == "metric" && words.size() == 3) return check_metric(words[1], words[2]);
        if (what == "recipient" && words.size() >= 3) return check_recipient(words);
        if (what == "queued" && words.size() >= 3) {
            TRY(const std::string octets, queued_body());
            return check_text(octets, words[1], tail(directive.rest, 2));
        }
        if (what == "message" && words.size() >= 5) {
            TRY(const std::string octets, message(words[1], words[2]));
            return check_text(octets, words[3], tail(directive.rest, 4));
        }
        if (what == "count" && words.size() >= 5) {
            TRY(const std::string octets, message(words[1], words[2]));
            TRY(const std::string text, unescape(tail(directive.rest, 4)));
            std::size_t found = 0;
            for (std::size_t at = octets.find(text); at != std::string::npos; at = octets.find(text, at + 1)) ++found;
            if (std::to_string(found) == words[3]) return {};
            return wrong(fmt::format("\"{}\" stands {} times in:\n{}", log::escape(text), found, octets));
        }
        return Error(Errc::unsupported, "unknown check: " + directive.rest);
    }

    // What stands behind the first `count` words.
    static std::string tail(std::string_view text, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t blank = text.find(' ');
            text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
        }
        return std::string(text);
    }

    static Result<> check_text(const std::string& octets, const std::string& how, const std::string& escaped) {
        TRY(const std::string text, unescape(escaped));
        const bool holds = how == "contains" ? octets.contains(text)
                           : how == "lacks"  ? !octets.contains(text)
                           : how == "starts" ? octets.starts_with(text)
                                             : how == "ends" && octets.ends_with(text);
        if (holds) return {};
        return wrong(fmt::format("not so: {} \"{}\" in:\n{}", how, log::escape(text), octets));
    }

    Result<std::vector<storage::Entry>> entries(const std::string& address, const std::string& folder) {
        return store_->read([&](const storage::Snapshot& snapshot) -> Result<std::vector<storage::Entry>> {
            TRY(const storage::Account account, snapshot.catalog().account(address));
            TRY(const storage::Mailbox box, snapshot.mail(account.id).mailbox(folder));
            return snapshot.mail(account.id).entries(box.id, 1, ~storage::Uid{0});
        });
    }

    Result<> check_mailbox(const std::string& address, const std::string& folder, const std::string& wanted) {
        TRY(const auto found, entries(address, folder));
        if (std::to_string(found.size()) == wanted) return {};
        return wrong(fmt::format("{} of {} holds {} messages, not {}", folder, address, found.size(), wanted));
    }

    Result<std::string> message(const std::string& address, const std::string& number) {
        TRY(const auto found, entries(address, "INBOX"));
        const auto index = ascii::parse_number(number).value_or(0);
        if (index < 1 || index > found.size()) return Error(Errc::not_found, "no such message in the mailbox");
        const storage::Uid uid = found[static_cast<std::size_t>(index - 1)].uid;
        return store_->read([&](const storage::Snapshot& snapshot) -> Result<std::string> {
            TRY(const storage::Account account, snapshot.catalog().account(address));
            TRY(const storage::Mailbox box, snapshot.mail(account.id).mailbox("INBOX"));
            TRY(const storage::BodyReader body, snapshot.mail(account.id).body(box.id, uid));
            return body.read_all();
        });
    }

    Result<std::vector<storage::QueueRecipient>> queue() {
        return store_->read([&](const storage::Snapshot& snapshot) {
            return snapshot.queue().due(system_clock().now() + std::chrono::hours(24), 100'000);
        });
    }
    Result<> check_queue(const std::string& wanted) {
        TRY(const auto found, queue());
        if (std::to_string(found.size()) == wanted) return {};
        return wrong(fmt::format("the queue holds {} recipients, not {}", found.size(), wanted));
    }
    Result<std::string> queued_body() {
        TRY(const auto found, queue());
        if (found.empty()) return Error(Errc::not_found, "the queue is empty");
        return store_->read([&](const storage::Snapshot& snapshot) -> Result<std::string> {
            TRY(const storage::BodyReader body, snapshot.queue().body(found[0].queue));
            return body.read_all();
        });
    }
    Result<> check_recipient(const std::vector<std::string>& words) {
        TRY(const auto found, queue());
        for (const storage::QueueRecipient& row : found) {
            if (row.address != words[1]) continue;
            const std::string orcpt = words.size() > 3 ? words[3] : "";
            if (std::to_string(row.notify) == words[2] && row.orcpt == orcpt) return {};
            return wrong(fmt::format("{} has notify {} and orcpt \"{}\"", row.address, row.notify, row.orcpt));
        }
        return wrong("no such recipient in the queue: " + words[1]);
    }
    Result<> check_metric(const std::string& name, const std::string& wanted) {
        const std::string text = metrics_.to_prometheus();
        if (text.contains(fmt::format("posthouse_{} {}\n", name, wanted))) return {};
        return wrong(fmt::format("{} is not {} in:\n{}", name, wanted, text));
    }

    const Transcript& transcript_;
    TempDir dir_;
    server::smtp::SmtpServiceOptions options_;
    Metrics metrics_;
    std::unique_ptr<storage::Store> store_;
    net::ThreadPool pool_;  // its jobs use the store
    std::unique_ptr<net::TlsServerContext> tls_;
    std::unique_ptr<server::Authenticator> authenticator_;
    std::unique_ptr<server::Directory> directory_;
    std::unique_ptr<server::smtp::Backend> backend_;
    Misaligned alignment_;
    server::smtp::SessionDeps deps_;
    std::vector<net::Stream*> streams_;
    net::TaskGroup group_;
};

net::Task<Result<>> play_all(const Transcript& transcript, SmtpWorld& world) {
    const auto played = co_await play(transcript, world);
    co_await world.end();
    co_return played;
}

}  // namespace

}  // namespace posthouse::test

namespace posthouse::test {

namespace {

// Hard cases of the reception and of submission that transcripts can show; the client's side is tested with the relay.
constexpr std::string_view kHardCases[] = {"S01", "S02", "S03", "S04", "S09", "S10", "S11", "S12", "S13", "S14", "S15",
                                           "S16", "S17", "S19", "S20", "S25", "S26", "S27", "S29", "S31", "S32", "S33",
                                           "S34", "S35", "S36", "S37", "S38", "S40", "S42", "S43", "S44", "S45", "S47",
                                           "S50", "S51", "S53", "S54", "S56", "S57", "S61", "S62"};

// Every command, every extension and every hard case has a transcript that names it.
int check_coverage(const std::string& folder) {
    std::set<std::string, std::less<>> named;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".txt") continue;
        for (std::string& name : must(load_transcript(entry.path().string())).covers) named.insert(std::move(name));
    }
    int missing = 0;
    const auto need = [&](std::string_view name) {
        if (named.contains(name)) return;
        std::fprintf(stderr, "no transcript covers %.*s\n", static_cast<int>(name.size()), name.data());
        ++missing;
    };
    for (const auto& row : server::smtp::all_commands()) need(row.verb);
    for (const auto& row : server::smtp::all_extensions()) need(row.keyword);
    for (const std::string_view name : kHardCases) need(name);
    return missing == 0 ? 0 : 1;
}

}  // namespace

}  // namespace posthouse::test

int main(int argc, char** argv) {
    using namespace posthouse;
    if (argc < 2) {
        std::fputs("usage: smtp_runner file.txt...\n", stderr);
        return 2;
    }
    if (argc == 3 && std::string_view(argv[1]) == "--coverage") return test::check_coverage(argv[2]);
    int failures = 0;
    for (int i = 1; i < argc; ++i) {
        const auto transcript = test::load_transcript(argv[i]);
        if (!transcript) {
            std::fprintf(stderr, "%s\n", transcript.error().context.c_str());
            return 2;
        }
        test::SmtpWorld world(*transcript);
        const auto played = test::run_task(world.loop, test::play_all(*transcript, world));
        if (!played) {
            std::fprintf(stderr, "%s\n", played.error().context.c_str());
            ++failures;
        }
    }
    return failures == 0 ? 0 : 1;
}
