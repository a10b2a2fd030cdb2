/// The composition root: the one file that sees every room. It builds them, connects their wake-ups, and takes them
/// down in order; nothing else is decided here.
///
///   start:  configuration -> log -> lock -> store -> TLS -> rooms -> doors -> READY=1
///   stop:   doors closed, sessions say goodbye, relay ends its messages; after kGoodbyeMax what is left is cut
/// Signals: SIGTERM, SIGINT stop; SIGHUP rereads certificates and log level.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <mutex>
#include <optional>

#include "admin/cli/cli.h"
#include "admin/cli/dkim_rotation.h"
#include "admin/http/http.h"
#include "admin/oidc/provider.h"
#include "admin/reports/tls_report.h"
#include "protocols/base/log.h"
#include "protocols/base/random.h"
#include "protocols/net/watch.h"
#include "relay/service.h"
#include "server/auth/authenticator.h"
#include "server/config/config.h"
#include "server/delivery/backend.h"
#include "server/delivery/local_submit.h"
#include "server/delivery/program_door.h"
#include "server/imap/service.h"
#include "server/judge/alignment.h"
#include "server/judge/judge.h"
#include "server/listen/listen.h"
#include "server/listen/supervisor.h"
#include "server/listen/tls_contexts.h"
#include "server/returns/role_mail.h"
#include "server/small_relay.h"
#include "server/smtp/service.h"
#include "server/web/web.h"
#include "storage/background.h"
#include "storage/backup/job.h"
#include "storage/search/search_index.h"
#include "storage/upkeep/upkeep.h"

namespace posthouse::server {
namespace {

using namespace std::chrono_literals;
constexpr std::chrono::milliseconds kGoodbyeMax = 30s;
constexpr std::chrono::milliseconds kHeartbeat = 1s;
constexpr std::size_t kImapPerNetworkMax = 200;  // an office behind one address, several clients each
constexpr unsigned kReadThreads = 3;
constexpr unsigned kCryptoThreads = 2;  // argon2 takes 64 MiB a thread while it runs

/// The house while it is open. Members are destroyed from the last to the first: who uses comes after what is used.
class House {
 public:
    explicit House(Config config) : config_(std::move(config)) {}
    ~House() {
        const std::lock_guard hold(wakeups_->mutex);
        wakeups_->house = nullptr;
    }
    /// Everything up to the open doors.
    Result<> build();
    /// Until a signal or the store's failure; the exit status.
    int run();

 private:
    Result<> load_tls();
    Result<> open_rooms();
    Result<> open_doors();
    Result<> open_http();
    Result<> announce();
    void connect_wakeups();
    void start_jobs();
    void on_signal(int signal);
    void reload();
    void begin_stop();
    Door smtp_door(const ListenRow& row, const smtp::SmtpServiceOptions& options, net::TlsServerContext* starttls,
                   net::TlsServerContext* implicit);
    imap::ImapDeps imap_deps(net::TlsServerContext* starttls);
    Door imap_door(const ListenRow& row, net::TlsServerContext* starttls, net::TlsServerContext* implicit);
    Door web_door(const ListenRow& row);
    net::Task<void> stop_all();
    net::Task<void> cut_after_goodbye();
    net::Task<void> heartbeat();
    void refresh_gauges();
    admin::HealthReport health() const;

    // What a commit's notice finds; null once the rooms are going.
    struct Wakeups {
        std::mutex mutex;
        House* house = nullptr;
    };

    Config config_;
    const std::shared_ptr<Wakeups> wakeups_ = std::make_shared<Wakeups>();
    std::optional<ServeLock> lock_;
    Metrics metrics_;
    net::Loop loop_;
    std::unique_ptr<storage::Store> store_;
    std::unique_ptr<storage::search::SearchIndex> search_;
    storage::Background background_;                                       ///< its jobs use the store
    imap::MailboxCache imap_cache_{config_.imap_cache_octets, &metrics_};  ///< the read pool fills it
    imap::FetchCache imap_fetched_{config_.imap_fetch_cache_octets, &metrics_};
    // Pools end before the store and the loop do: their jobs use both.
    net::ThreadPool read_pool_{"read", kReadThreads};
    net::ThreadPool crypto_pool_{"crypto", kCryptoThreads, 256};
    std::unique_ptr<admin::OidcProvider> oidc_;
    net::ThreadPool web_pool_{"web", 2, 64};  ///< asks it
    TlsContexts tls_;
    std::unique_ptr<net::TlsClientContext> verified_tls_, opportunistic_tls_;
    std::unique_ptr<dns::Resolver> resolver_;
    std::unique_ptr<net::Dialer> dialer_;
    std::unique_ptr<Authenticator> authenticator_;
    std::unique_ptr<Directory> directory_;
    std::unique_ptr<smtp::Backend> backend_;
    std::unique_ptr<smtp::AlignmentCheck> alignment_;
    std::unique_ptr<smtp::SenderCheck> senders_;
    std::unique_ptr<imap::Hub> hub_;
    std::unique_ptr<imap::SwitchBoard> switches_;
    std::unique_ptr<relay::Relay> relay_;
    smtp::SmtpServiceOptions reception_, submission_;
    std::unique_ptr<Listeners> listeners_;
    std::unique_ptr<ProgramDoor> programs_;
    std::unique_ptr<admin::HttpService> http_;
    net::TaskGroup tasks_{loop_};
    net::Event stopping_{loop_}, stopped_{loop_};
    std::unique_ptr<net::SignalWatch> signals_;
    const Time started_ = system_clock().now();
    int exit_status_ = 0;
};

Result<> House::load_tls() {
    TRY(tls_, TlsContexts::load(config_.tls_certificate, config_.tls_key));
    // Webhooks, tokens and policies are fetched with these, too: a house's own authority comes beside the world's.
    constexpr auto kBesides = net::Anchors::besides;
    TRY(verified_tls_, net::TlsClientContext::make(net::Verify::required, config_.relay_ca_file, kBesides));
    TRY(opportunistic_tls_, net::TlsClientContext::make(net::Verify::opportunistic, config_.relay_ca_file, kBesides));
    return {};
}

Result<> House::open_rooms() {
    TRY(resolver_, dns::make_unbound_resolver(loop_, dns_options(config_)));
    dialer_ = net::make_tcp_dialer(loop_);
    oidc_ = std::make_unique<admin::OidcProvider>(*store_, system_clock(), admin::fetch_web);
    AuthenticatorOptions tokens([oidc = oidc_.get()](const std::string& t) { return oidc->judge(t); }, web_pool_);
    authenticator_ = make_authenticator(*store_, loop_, crypto_pool_, system_clock(), metrics_, std::move(tokens));
    TRY(directory_, Directory::open(*store_, loop_, read_pool_));
    backend_ = make_backend(*store_, loop_, read_pool_, *authenticator_, *directory_, config_.hostname, system_clock(),
                            metrics_);
    const CheckDeps checks(*store_, loop_, read_pool_, tasks_, *resolver_, system_clock(), metrics_, config_.hostname);
    alignment_ = make_alignment_check(checks);
    senders_ = make_sender_check(checks);
    hub_ = imap::make_hub(*store_, loop_);
    TRY(switches_, imap::SwitchBoard::open(*store_, loop_, read_pool_));
    relay::RelayDeps relay = relay_deps(*store_, loop_, read_pool_, config_, metrics_);
    relay.dialer = dialer_.get();
    relay.resolver = resolver_.get();
    relay.verified_tls = verified_tls_.get();
    relay.opportunistic_tls = opportunistic_tls_.get();
    relay_ = std::make_unique<relay::Relay>(std::move(relay));
    return {};
}

Door House::smtp_door(const ListenRow& row, const smtp::SmtpServiceOptions& options, net::TlsServerContext* starttls,
                      net::TlsServerContext* implicit) {
    Door door;
    door.service = row.service;
    door.endpoints = config_.listen.*(row.list);
    door.implicit_tls = implicit;
    door.over_limit = smtp::kTooManyConnections;
    door.limits = smtp::listen_limits(options.kind);
    smtp::SessionDeps deps(options, *backend_, starttls, metrics_);
    deps.alignment = alignment_.get();  // at port 25, too: machines of the house that are known by their address
    if (options.kind == smtp::Kind::reception) deps.senders = senders_.get();
    door.handler = [deps](std::unique_ptr<net::Stream> stream) {
        return smtp::serve_connection(std::move(stream), deps);
    };
    return door;
}

imap::ImapDeps House::imap_deps(net::TlsServerContext* starttls) {
    imap::ImapDeps deps;
    deps.store = store_.get();
    deps.search = search_.get();
    deps.loop = &loop_;
    deps.read_pool = &read_pool_;
    deps.authenticator = authenticator_.get();
    deps.hub = hub_.get();
    deps.switches = switches_.get();
    deps.cache = &imap_cache_;
    deps.fetched = &imap_fetched_;
    deps.tls = starttls;
    deps.hostname = config_.hostname;
    deps.clock = &system_clock();
    deps.metrics = &metrics_;
    if (config_.imap_clear_login) deps.clear_login = imap::ClearLogin::from_loopback;
    return deps;
}

Door House::imap_door(const ListenRow& row, net::TlsServerContext* starttls, net::TlsServerContext* implicit) {
    Door door;
    door.service = row.service;
    door.endpoints = config_.listen.*(row.list);
    door.limits.connections_per_network_max = kImapPerNetworkMax;
    door.implicit_tls = implicit;
    door.over_limit = imap::kOverLimit;
    door.handler = [deps = imap::session_deps(imap_deps(starttls))](std::unique_ptr<net::Stream> stream) {
        return imap::serve_connection(std::move(stream), deps);
    };
    return door;
}

Door House::web_door(const ListenRow& row) {
    Door door;
    door.service = row.service;
    door.endpoints = config_.listen.*(row.list);
    door.limits = web_listen_limits();
    door.implicit_tls = tls_.https.get();
    WebDeps deps(*store_, loop_, read_pool_, metrics_, config_.hostname);
    door.handler = [deps](std::unique_ptr<net::Stream> stream) { return serve_web(std::move(stream), deps); };
    return door;
}

Result<> House::open_doors() {
    reception_ = smtp::SmtpServiceOptions(config_.hostname, smtp::Kind::reception);
    submission_ = smtp::SmtpServiceOptions(config_.hostname, smtp::Kind::submission);
    std::vector<Door> doors;
    for (const ListenRow& row : kListenRows) {
        if (row.service == "smtp") doors.push_back(smtp_door(row, reception_, tls_.smtp.get(), nullptr));
        if (row.service == "submission") doors.push_back(smtp_door(row, submission_, tls_.submission.get(), nullptr));
        if (row.service == "submissions") doors.push_back(smtp_door(row, submission_, nullptr, tls_.submissions.get()));
        if (row.service == "imap") doors.push_back(imap_door(row, tls_.imap.get(), nullptr));
        if (row.service == "imaps") doors.push_back(imap_door(row, nullptr, tls_.imaps.get()));
        if (row.service == "https") doors.push_back(web_door(row));
    }
    TRY(listeners_, Listeners::open(loop_, std::move(doors), metrics_));
    return {};
}

Result<> House::open_http() {
    admin::HttpDeps deps;
    deps.metrics = &metrics_;
    deps.health = [this] { return health(); };
    deps.before_metrics = [this] { refresh_gauges(); };
    deps.store = store_.get();
    deps.clock = &system_clock();
    deps.hostname = config_.hostname;
    programs_ = std::make_unique<ProgramDoor>(
        ProgramDoorDeps(*store_, loop_, read_pool_, *backend_, alignment_.get(), *directory_, submission_, metrics_));
    deps.submit = [this](storage::Submission one) { return programs_->submit(std::move(one)); };
    deps.message_octets_max = submission_.limits.message_octets_max;
    TRY(http_, admin::HttpService::start(config_.listen.http, std::move(deps)));
    return {};
}

Result<> House::announce() {
    std::vector<Listeners::Open> open = listeners_->list();
    for (const net::Endpoint& at : http_->endpoints()) open.push_back({"http", at});
    for (const auto& [service, at] : open) log::info("serve", "{} is open on {}", service, at.to_string());
    return write_run_file(config_.data + "/run/ports.json", format_ports(open));
}

// The store's quiet work, a thread a job.
void House::start_jobs() {
    background_.add(storage::search::make_index_job(*search_));
    background_.add(std::make_unique<storage::backup::BackupJob>(*store_, metrics_, config_.hostname, config_.file,
                                                                 system_clock()));
    background_.add(storage::make_compact_job(*store_, metrics_));
    background_.add(make_role_mail_job(*store_, metrics_, system_clock(), config_.hostname, admin::take_tls_report));
    admin::Settings dns;  // what the job needs of them
    dns.dns_servers = config_.dns_servers;
    dns.dns_trust_anchor = config_.dns_trust_anchor;
    dns.dns_ask_loopback = config_.dns_ask_loopback;
    background_.add(admin::make_dkim_job(*store_, metrics_, system_clock(), std::move(dns)));
    // What the purge lets go of is what the compactor can give back to the disk.
    background_.add(
        storage::make_purge_job(*store_, metrics_, system_clock(), [this] { background_.poke("compact"); }));
}

void House::connect_wakeups() {
    // The directory, the hub and the relay listen for themselves. Called on the commit thread, quick, and never back
    // into the store: only posts. The store outlives the rooms, so that it must be able to find the house empty.
    store_->subscribe([wakeups = wakeups_](const storage::CommitNotice& notice) {
        const std::lock_guard hold(wakeups->mutex);
        House* const house = wakeups->house;
        if (house == nullptr) return;
        if (house->search_->note(notice)) house->background_.poke(storage::search::kIndexJob);
        if (!notice.catalog && !notice.external) return;
        // A setting or a rule of retention may be another one now.
        for (const char* const job : {"purge", "dkim", "role-mail"}) house->background_.poke(job);
        house->loop_.post([house] {
            house->authenticator_->refresh();
            imap::drop_revoked(house->imap_deps(nullptr));
        });
    });
    const std::lock_guard hold(wakeups_->mutex);
    wakeups_->house = this;
}

Result<> House::build() {
    TRY(ServeLock lock, ServeLock::take(config_.data));
    lock_.emplace(std::move(lock));
    storage::StoreOptions options;
    options.directory = config_.data;
    options.free_octets_min = config_.store_free_octets_min;
    options.cache_octets = config_.store_cache_octets;
    options.readers_max = config_.store_readers_max;
    options.watch_other_processes = true;
    TRY(store_, storage::Store::open(std::move(options)));
    search_ = std::make_unique<storage::search::SearchIndex>(*store_);
    warn_of(config_);
    TRY_VOID(load_tls());
    TRY_VOID(open_rooms());
    TRY_VOID(open_doors());
    TRY_VOID(open_http());
    start_jobs();
    connect_wakeups();
    return announce();
}

admin::HealthReport House::health() const {
    admin::HealthReport report;
    const storage::Health now = store_->health();
    report.serving = now == storage::Health::good || now == storage::Health::low_disk;
    report.store = storage::to_string(now);
    const auto waiting = store_->read([](const storage::Snapshot& s) { return s.queue().waiting_count(); });
    report.serving = report.serving && waiting.has_value();
    report.waiting = waiting.value_or(0);
    report.uptime_s = (system_clock().now() - started_).count() / 1000;
    return report;
}

void House::refresh_gauges() {
    const storage::StoreStatistics store = store_->statistics();
    const auto set = [this](std::string_view name, std::string_view help, std::uint64_t value) {
        metrics_.gauge(name, help).set(static_cast<std::int64_t>(value));
    };
    set("store_commits", "Transactions committed since the start", store.commits);
    set("store_writes", "Writes asked for since the start", store.writes);
    set("store_writes_failed", "Writes that failed since the start", store.writes_failed);
    set("store_appended_bytes", "Message octets appended since the start", store.bytes_appended);
    set("store_pending", "Writes that wait for the commit thread", store.pending);
    const auto waiting = store_->read([](const storage::Snapshot& s) { return s.queue().waiting_count(); });
    if (waiting) set("queue_waiting", "Recipients that wait in the queue", *waiting);
    if (const auto search = search_->status()) {
        set("search_indexed_messages", "Messages that a search finds by the index", search->indexed);
        set("search_waiting_messages", "Messages that wait to be indexed", search->waiting);
    }
    set("uptime_seconds", "Seconds since the start",
        static_cast<std::uint64_t>((system_clock().now() - started_).count() / 1000));
    set("tls_certificate_end_seconds", "Unix time at which the certificate ends",
        static_cast<std::uint64_t>(tls_.imaps->not_after_unix()));
}

void House::on_signal(int signal) {
    if (signal == SIGHUP) return reload();
    log::info("serve", "asked to stop");
    begin_stop();
}

void House::reload() {
    notify_reloading();
    const auto fresh = load_config(config_.file);
    if (fresh) {
        log::set_level(fresh->log_level);
    } else {
        log::error("serve", "reload: the configuration stays as it was: {}", fresh.error().context);
    }
    // The same path again: what rotated the log away gets a new file.
    if (const auto opened = log::open(config_.log_file, fresh ? fresh->log_level : config_.log_level); !opened) {
        log::error("serve", "reload: {}", opened.error().context);
    }
    for (net::TlsServerContext* context : tls_.all()) {
        if (const auto done = context->reload(); !done)
            log::error("serve", "reload: the certificate stays: {}", done.error().context);
    }
    log::info("serve", "configuration reread: certificate and log level");
    notify_supervisor("READY=1");
}

void House::begin_stop() {
    if (stopping_.is_set()) return;
    stopping_.set();
    notify_supervisor("STOPPING=1");
    tasks_.spawn("serve.stop", stop_all());
}

net::Task<void> House::cut_after_goodbye() {
    auto all_gone = co_await stopped_.wait_for(kGoodbyeMax);
    if (!all_gone) {
        log::warn("serve", "{} connections did not end in time and are cut", listeners_->connections());
        listeners_->cut();
    }
}

net::Task<void> House::stop_all() {
    tasks_.spawn("serve.cut", cut_after_goodbye());
    senders_->stop();  // a silent DNS holds up no stop
    listeners_->stop();
    programs_->stop();
    relay_->stop();
    resolver_->interrupt();
    co_await listeners_->join();
    co_await programs_->join();
    co_await relay_->join();
    stopped_.set();
    loop_.stop();
}

// Once a second: is the store alive, does the supervisor want to know?
net::Task<void> House::heartbeat() {
    const auto period = watchdog_period();
    const std::chrono::milliseconds span = period && *period < kHeartbeat ? *period : kHeartbeat;
    while (co_await net::sleep_for(loop_, span, &stopping_)) {
        if (store_->health() == storage::Health::failed) {
            log::error("serve", "the store has failed for good; ending so that the supervisor starts anew");
            exit_status_ = 1;
            begin_stop();
        } else if (period) {
            notify_supervisor("WATCHDOG=1");
        }
    }
}

int House::run() {
    signals_ = std::make_unique<net::SignalWatch>(loop_, std::initializer_list<int>{SIGTERM, SIGINT, SIGHUP},
                                                  [this](int signal) { on_signal(signal); });
    relay_->start();
    tasks_.spawn("serve.heartbeat", heartbeat());
    notify_supervisor("READY=1\nSTATUS=open");
    log::info("serve", "posthouse {} is open as {}", POSTHOUSE_VERSION, config_.hostname);
    loop_.run();
    {
        const std::lock_guard hold(wakeups_->mutex);
        wakeups_->house = nullptr;
    }
    background_.stop();
    http_->stop();
    signals_.reset();
    // Tasks whose last wait has ended need a few more turns to leave.
    while (tasks_.size() != 0) {
        resolver_->interrupt();
        loop_.poll();
    }
    programs_.reset();
    listeners_.reset();
    relay_.reset();
    log::info("serve", "stopped");
    return exit_status_;
}

int refuse(const Error& error) {
    std::cerr << "posthouse: " << log::escape(error.context) << '\n';
    return 1;
}

int serve(const std::string& config_file) {
    ::umask(077);
    std::signal(SIGPIPE, SIG_IGN);
    auto config = load_config(config_file);
    if (!config) return refuse(config.error());
    if (const auto opened = log::open(config->log_file, config->log_level); !opened) return refuse(opened.error());
    House house(*std::move(config));
    if (const auto built = house.build(); !built) return refuse(built.error());
    return house.run();
}

Result<admin::Settings> load_settings(const std::string& file) {
    TRY(const Config config, load_config(file));
    admin::Settings out;
    out.file = config.file;
    out.hostname = config.hostname;
    out.data = config.data;
    out.free_octets_min = config.store_free_octets_min;
    out.tls_certificate = config.tls_certificate;
    out.tls_key = config.tls_key;
    out.dns_servers = config.dns_servers;
    out.dns_trust_anchor = config.dns_trust_anchor;
    out.dns_ask_loopback = config.dns_ask_loopback;
    for (const ListenRow& row : kListenRows) {
        for (const net::Endpoint& at : config.listen.*(row.list))
            out.listen.push_back({std::string(row.service), at.to_string()});
    }
    return out;
}

Result<std::string> submit(storage::Store& store, const admin::Settings& settings, const admin::Submission& handed_in) {
    LocalMessage message;
    message.sender = handed_in.sender;
    message.recipients = handed_in.recipients;
    message.message = handed_in.message;
    message.submitter = fmt::format("uid {}", ::getuid());
    return submit_locally(store, settings.hostname, std::move(message), system_clock(), system_random());
}

}  // namespace
}  // namespace posthouse::server

int main(int argc, char** argv) {
    posthouse::admin::CliHooks hooks;
    hooks.load_config = posthouse::server::load_settings;
    hooks.serve = posthouse::server::serve;
    hooks.submit = posthouse::server::submit;
    hooks.try_way = posthouse::server::try_way;
    hooks.explain_tls = posthouse::server::explain_tls;
    return posthouse::admin::run_cli(argc, argv, hooks);
}
