// posthouse init: a house from nothing: configuration, store, certificate, keys, first domain and account.
// Refuses to touch what is there; what it made is taken away again where it fails half-way.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "admin/cli/command.h"
#include "admin/cli/dns_facts.h"
#include "admin/cli/keys.h"
#include "admin/cli/password.h"
#include "admin/cli/secret.h"
#include "admin/cli/ways.h"
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/net/address.h"
#include "protocols/smtp/relay_url.h"

namespace posthouse::admin {
namespace {

namespace fs = std::filesystem;

constexpr int kCertificateDays = 825;  // long enough to be replaced by a real one; some clients refuse longer
constexpr std::uint16_t kPortOffsetMax = 50'000;

struct Plan {
    fs::path data;
    fs::path config;
    std::string hostname;
    std::string domain;
    std::string account;
    std::string listen;  // an address, or "" for all
    std::uint16_t port_offset = 0;
    std::optional<smtp::RelayUrl> relay;
    std::string relay_password;
    std::string relay_ca_file;
};

// Removes what init made unless it is told to keep it.
class Undo {
 public:
    explicit Undo(const Plan& plan) : plan_(plan), data_was_there_(fs::exists(plan.data)) {}
    ~Undo() {
        if (kept_) return;
        std::error_code ignored;
        if (config_made_) fs::remove(plan_.config, ignored);
        if (!data_was_there_) {
            fs::remove_all(plan_.data, ignored);
            return;
        }
        for (const auto& entry : fs::directory_iterator(plan_.data, ignored)) fs::remove_all(entry.path(), ignored);
    }
    Undo(const Undo&) = delete;
    Undo& operator=(const Undo&) = delete;
    void config_made() { config_made_ = true; }
    void keep() { kept_ = true; }

 private:
    const Plan& plan_;
    bool data_was_there_;
    bool config_made_ = false;
    bool kept_ = false;
};

// A new file, synced; never one that is there already.
Result<> write_new(const fs::path& path, std::string_view text, mode_t mode) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) return Error(Errc::io, fmt::format("{} cannot be made: {}", path.string(), std::strerror(errno)));
    bool good = true;
    while (good && !text.empty()) {
        const ssize_t wrote = ::write(fd, text.data(), text.size());
        good = wrote > 0 || (wrote < 0 && errno == EINTR);
        if (wrote > 0) text.remove_prefix(static_cast<std::size_t>(wrote));
    }
    good = good && ::fsync(fd) == 0;
    const int error = errno;
    ::close(fd);
    if (good) return {};
    return Error(Errc::io, fmt::format("{} cannot be written: {}", path.string(), std::strerror(error)));
}

Result<> check_nothing_there(const Plan& plan) {
    std::error_code error;
    if (fs::exists(plan.config, error)) {
        return Error(Errc::already_exists,
                     fmt::format("{} is there already; nothing was touched. Name another file with --config",
                                 plan.config.string()));
    }
    if (!fs::exists(plan.data, error)) return {};
    if (!fs::is_directory(plan.data, error)) {
        return Error(Errc::already_exists,
                     fmt::format("{} is no directory; name another one with --data", plan.data.string()));
    }
    if (!fs::is_empty(plan.data, error) || error) {
        return Error(Errc::already_exists,
                     fmt::format("{} is not empty; nothing was touched. Name another directory with --data",
                                 plan.data.string()));
    }
    return {};
}

Result<Plan> make_plan(Invocation& call) {
    Plan plan;
    plan.data = fs::absolute(call.get("--data")).lexically_normal();
    plan.config = fs::absolute(call.config_file()).lexically_normal();
    plan.hostname = ascii::to_lower(call.get("--hostname"));
    plan.domain = ascii::to_lower(call.get("--domain"));
    plan.account = ascii::to_lower(call.get("--account"));
    plan.listen = call.get("--listen");
    if (plan.data.string().find_first_of("\"\\\n") != std::string::npos) {
        return Error(Errc::invalid, "the name of the data directory must not hold quotes, backslashes or line ends");
    }
    if (plan.hostname.find('.') == std::string::npos ||
        plan.hostname.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") != std::string::npos) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no full host name; write one such as mail.example.org", plan.hostname));
    }
    if (!plan.account.ends_with("@" + plan.domain)) {
        return Error(Errc::invalid,
                     fmt::format("{} is not in {}; write --account NAME@{}", plan.account, plan.domain, plan.domain));
    }
    if (!plan.listen.empty() && !net::IpAddress::parse(plan.listen)) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no address; write for example --listen 127.0.0.1", plan.listen));
    }
    if (call.has("--port-offset")) {
        const auto offset = ascii::parse_number(call.get("--port-offset"));
        if (!offset || *offset > kPortOffsetMax) {
            return Error(Errc::invalid, fmt::format("--port-offset must be a number up to {}", kPortOffsetMax));
        }
        plan.port_offset = static_cast<std::uint16_t>(*offset);
    }
    if (call.has("--relay-ca-file")) plan.relay_ca_file = fs::absolute(call.get("--relay-ca-file")).string();
    if (call.has("--relay")) {
        TRY(plan.relay, smtp::parse_relay_url(call.get("--relay")));
        if (plan.relay->needs_password()) {
            TRY(plan.relay_password,
                read_secret(call.get("--relay-password-file"), "POSTHOUSE_RELAY_PASSWORD",
                            fmt::format("password of {} at {}", plan.relay->user, plan.relay->host)));
        }
    }
    return plan;
}

// `["0.0.0.0:25", "[::]:25"]`, or the one address that was asked for.
std::string endpoints(const Plan& plan, unsigned port) {
    const unsigned at = port + plan.port_offset;
    if (plan.listen.empty()) return fmt::format("[\"0.0.0.0:{0}\", \"[::]:{0}\"]", at);
    return plan.listen.find(':') == std::string::npos ? fmt::format("[\"{}:{}\"]", plan.listen, at)
                                                      : fmt::format("[\"[{}]:{}\"]", plan.listen, at);
}

// Only loopback for HTTP, whatever the others listen on.
std::string http_endpoint(const Plan& plan) {
    const auto address = net::IpAddress::parse(plan.listen);
    const std::string host =
        address && address->is_loopback() && plan.listen.find(':') == std::string::npos ? plan.listen : "127.0.0.1";
    return fmt::format("[\"{}:{}\"]", host, 8025U + plan.port_offset);
}

std::string config_text(const Plan& plan) {
    std::string out = "# Posthouse: only what must be known before the store opens. The rest: posthouse --help.\n";
    const auto line = [&out](std::string_view key, const std::string& value, std::string_view comment) {
        out += fmt::format("{:<56}# {}\n", fmt::format("{} = {}", key, value), comment);
    };
    line("hostname", fmt::format("\"{}\"", plan.hostname), "the name this server gives itself");
    line("data", fmt::format("\"{}\"", plan.data.string()), "all that must be backed up");
    out += "\n[listen]  # each service and its addresses; leave a line out to close it\n";
    line("smtp", endpoints(plan, 25), "mail from other servers");
    line("submission", endpoints(plan, 587), "mail from your users, STARTTLS");
    line("submissions", endpoints(plan, 465), "mail from your users, TLS from the start");
    line("imap", endpoints(plan, 143), "reading, STARTTLS");
    line("imaps", endpoints(plan, 993), "reading, TLS from the start");
    line("http", http_endpoint(plan), "/healthz and /metrics, this machine only");
    out += "\n[tls]  # PEM; reread on SIGHUP\n";
    line("certificate", fmt::format("\"{}\"", (plan.data / "tls/certificate.pem").string()),
         "self-signed: put a real one here");
    line("key", fmt::format("\"{}\"", (plan.data / "tls/key.pem").string()), "readable by posthouse alone");
    out += "\n[dns]\n";
    line("servers", "[]", "resolvers to ask; none: ask the root ourselves");
    std::error_code ignored;
    const bool anchor = fs::exists("/usr/share/dns/root.key", ignored);
    line("trust_anchor", anchor ? "\"/usr/share/dns/root.key\"" : "\"\"", "DNSSEC root key; none: no validation");
    out += "\n[log]\n";
    line("file", "\"\"", "none: standard error");
    line("level", "\"info\"", "debug, info, warn or error; reread on SIGHUP");
    return out;
}

Result<> fill_store(storage::Store& store, const Plan& plan, const std::string& password) {
    TRY(const auto keys, make_dkim_keys(store, plan.domain, system_clock().now()));
    TRY(const NewPassword made, make_password(store, plan.account, password));
    return store.write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto domain, tx.catalog().add_domain(plan.domain));
        TRY(const auto account, tx.catalog().add_account(plan.account, made.hash, ""));
        TRY_VOID(set_password(tx, account, made));
        // RFC 5321 4.5.1 and RFC 2142: these must reach somebody.
        for (const std::string_view role : {"postmaster", "abuse"}) {
            const std::string address = fmt::format("{}@{}", role, plan.domain);
            if (address == plan.account) continue;
            TRY([[maybe_unused]] const auto alias, tx.catalog().add_alias(address, {plan.account}));
        }
        TRY_VOID(add_dkim_keys(tx, domain, keys));
        if (!plan.relay || plan.relay->direct) return {};
        storage::Way way;
        way.name = "default";
        way.kind = storage::WayKind::smarthost;
        way.url = plan.relay->to_string();
        way.preset = plan.relay->preset;
        way.ca_file = plan.relay_ca_file;
        if (plan.relay->needs_password()) {
            way.sealed_secret = crypto::seal(store.sealing_key(), kRouteSealPurpose, plan.relay_password);
        }
        take_preset(way);
        storage::RouteTx routes(tx);
        TRY_VOID(routes.add_way(way));
        storage::Route route;
        route.name = "default";
        TRY(route.steps, storage::parse_steps("default"));
        TRY_VOID(routes.add_route(route));
        return {};
    });
}

Result<> write_certificate(const Plan& plan) {
    const fs::path folder = plan.data / "tls";
    if (::mkdir(folder.c_str(), 0700) != 0) {
        return Error(Errc::io, fmt::format("{} cannot be made: {}", folder.string(), std::strerror(errno)));
    }
    const std::string names[] = {plan.hostname};
    TRY(const auto made, crypto::make_self_signed(names, kCertificateDays));
    TRY_VOID(write_new(folder / "certificate.pem", made.certificate_pem, 0600));
    return write_new(folder / "key.pem", made.key_pem, 0600);
}

Result<DomainFacts> build(Invocation& call, const Plan& plan, const std::string& password, Undo& undo) {
    storage::StoreOptions options;
    options.directory = plan.data.string();
    TRY(const auto store, storage::Store::create(std::move(options)));
    TRY_VOID(write_certificate(plan));
    TRY_VOID(fill_store(*store, plan, password));
    std::error_code error;
    fs::create_directories(plan.config.parent_path(), error);
    TRY_VOID(write_new(plan.config, config_text(plan), 0640));
    undo.config_made();
    TRY(const Settings settings, call.hooks().load_config(plan.config.string()));
    return load_domain_facts(*store, settings, plan.domain);
}

void tell(Invocation& call, const Plan& plan, const std::string& password, const DomainFacts& facts) {
    const auto records = expected_records(facts);
    const unsigned imaps = 993U + plan.port_offset;
    const unsigned submissions = 465U + plan.port_offset;
    if (call.out().json()) {
        std::vector<std::string> lines;
        for (const DnsRecord& record : records) lines.push_back(zone_line(record));
        Record out;
        out.add("config", plan.config.string()).add("data", plan.data.string()).add("hostname", plan.hostname);
        out.add("account", plan.account).add("password", password);
        out.add("imaps_port", static_cast<std::int64_t>(imaps))
            .add("submissions_port", static_cast<std::int64_t>(submissions));
        out.add("relay", plan.relay && !plan.relay->direct ? plan.relay->to_string() : std::string())
            .add("dns", std::move(lines));
        call.out().record(out);
        return;
    }
    call.out().say(
        fmt::format("The house stands: {}, with its configuration in {}.\n", plan.data.string(), plan.config.string()));
    call.out().say(fmt::format("Account   {}\nPassword  {}   (shown only now)\n", plan.account, password));
    call.out().say(fmt::format(
        "Mail client settings\n"
        "  Reading   IMAP  {0}  port {1}  SSL/TLS   (or {2} with STARTTLS)\n"
        "  Sending   SMTP  {0}  port {3}  SSL/TLS   (or {4} with STARTTLS)\n"
        "  Login     {5} with that password\n"
        "The certificate is self-signed: clients ask once. Put a real one into [tls] of the configuration.\n",
        plan.hostname, imaps, 143U + plan.port_offset, submissions, 587U + plan.port_offset, plan.account));
    call.out().say(fmt::format("DNS records of {}\n\n{}", plan.domain, records_text(records)));
    if (plan.relay && !plan.relay->direct) {
        call.out().say(fmt::format(
            "All mail to other domains is handed to {}.\n"
            "What that changes: port 25 need not be open outwards and the reverse name of this machine matters\n"
            "less; the SPF record must name the relay too (see above), and the relay may ask for records of its\n"
            "own to believe that the domain is yours. MX, DKIM and DMARC stay as they are.\n",
            plan.relay->to_string()));
    }
    call.out().say(fmt::format(
        "Now start it:\n\n  posthouse serve --config {}\n\nand look it over:\n\n  posthouse doctor --config {}",
        plan.config.string(), plan.config.string()));
}

// init
Result<> init(Invocation& call) {
    TRY(const Plan plan, make_plan(call));
    TRY_VOID(check_nothing_there(plan));
    Undo undo(plan);
    const std::string password = generate_password();
    TRY(const DomainFacts facts, build(call, plan, password, undo));
    undo.keep();
    tell(call, plan, password, facts);
    return {};
}

// version
Result<> version(Invocation& call) {
    if (call.out().json()) call.out().record(Record().add("version", POSTHOUSE_VERSION));
    call.out().say(fmt::format("posthouse {}", POSTHOUSE_VERSION));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kInitArguments[] = {
    {Kind::option_required, "--data", "the data directory to make"},
    {Kind::option_required, "--hostname", "the full name of this server, such as mail.example.org"},
    {Kind::option_required, "--domain", "the first domain to receive mail for"},
    {Kind::option_required, "--account", "the first account, an address in that domain"},
    {Kind::option, "--relay",
     "hand all mail to other domains to this relay, such as smtp://user@host:587 or preset:NAME"},
    {Kind::option, "--relay-password-file",
     "read the relay's password from the first line of a file, - for standard input; else POSTHOUSE_RELAY_PASSWORD, "
     "else a prompt"},
    {Kind::option, "--relay-ca-file", "PEM certificates to trust for the relay instead of the system's"},
    {Kind::option, "--listen", "listen on this address only [all]"},
    {Kind::option, "--port-offset", "add this to every port, to try it without being root"},
};
constexpr Command kRows[] = {
    {"", "init", "make a new server: configuration, store, keys, first account",
     "posthouse init --data /var/lib/posthouse --hostname mail.example.org --domain example.org --account "
     "alice@example.org",
     kInitArguments, init},
    {"", "version", "print the version", "posthouse version", {}, version},
};

}  // namespace

std::span<const Command> setup_commands() { return kRows; }

}  // namespace posthouse::admin
