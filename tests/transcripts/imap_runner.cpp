// Plays one IMAP transcript, or looks for what none of a directory is about (--coverage DIRECTORY, imap_coverage.h).
// Set-up:      @account address password    @set clear_login=no    @set tls=yes    @set peer=192.0.2.9
//              @set idle_keepalive_ms=50    @set message_octets_max=3000
//              @set notify_mailboxes_max=8  @set sessions_max=3
//              @message mailbox text with \r\n escapes      (delivered to the first account)
//              @switch off|on capability everyone|ADDRESS [part of the client's ID name]
// In place:    @deliver mailbox text        @expunge mailbox uid    @flag mailbox uid   (another session's \Flagged)
//              @fill mailbox octets         a message with a body line of that many octets
//              @quota octets messages       of the first account; 0: none
//              @stop                        the server is stopping (only while all connections are open)
#include <cstdio>
#include <optional>

#include "tests/support/imap_host.h"
#include "tests/transcripts/imap_coverage.h"
#include "tests/transcripts/transcript.h"

namespace posthouse::test {

namespace {

class ImapWorld final : public World {
 public:
    ImapWorld(net::Loop& loop, const Transcript& transcript) : host_(loop), sessions_(loop) {
        if (transcript.setting("clear_login", "yes") == "no") {
            host_.deps.clear_login = server::imap::ClearLogin::refused;
        }
        if (transcript.setting("tls", "no") == "yes") host_.offer_tls();
        const std::string limit = transcript.setting("message_octets_max", "");
        if (!limit.empty()) host_.deps.limits.message_octets_max = std::stoull(limit);
        const std::string keepalive = transcript.setting("idle_keepalive_ms", "");
        const std::string watched = transcript.setting("notify_mailboxes_max", "");
        if (!watched.empty()) host_.deps.limits.notify_mailboxes_max = std::stoull(watched);
        if (!keepalive.empty()) {
            host_.deps.limits.idle_keepalive = std::chrono::milliseconds(std::stoll(keepalive));
        }
        const std::string strangers = transcript.setting("strangers_max", "");
        if (!strangers.empty()) host_.deps.limits.strangers_max = std::stoull(strangers);
        const std::string sessions = transcript.setting("sessions_max", "");
        if (!sessions.empty()) host_.deps.limits.sessions_per_account_max = std::stoull(sessions);
        peer_ = must(net::IpAddress::parse(transcript.setting("peer", "127.0.0.1")));
        for (const Directive& directive : transcript.setup) {
            if (directive.name == "account") {
                const auto id = host_.add_account(directive.arguments.at(0), directive.arguments.at(1));
                if (!account_) account_ = id;
            } else if (directive.name == "message") {
                deliver(directive);
            } else if (directive.name == "switch") {
                turn(directive);
            }
        }
        switches_ = must(server::imap::SwitchBoard::open(*host_.store, host_.loop, *host_.pool));
        host_.deps.switches = switches_.get();
    }

    net::Task<Result<std::unique_ptr<net::Stream>>> connect(int) override {
        net::MemoryPair pair = net::make_memory_pair(
            host_.loop, net::Endpoint(must(net::IpAddress::parse("127.0.0.1")), 143), net::Endpoint(peer_, 40000));
        streams_.push_back(pair.first.get());
        sessions_.spawn("imap", server::imap::serve_connection(std::move(pair.first), host_.deps));
        co_return std::move(pair.second);
    }

    net::Task<Result<>> perform(Directive directive) override {
        if (directive.name == "deliver") {
            deliver(directive);
        } else if (directive.name == "fill") {
            const std::string body(std::stoul(directive.arguments.at(1)), 'x');
            must(host_.deliver(*account_, directive.arguments.at(0), "Subject: big\r\n\r\n" + body + "\r\n"));
        } else if (directive.name == "expunge" || directive.name == "flag") {
            change(directive);
        } else if (directive.name == "quota") {
            const std::uint64_t octets = std::stoull(directive.arguments.at(0));
            const std::uint64_t messages = std::stoull(directive.arguments.at(1));
            must(host_.store->write(
                {}, [&](storage::Tx& tx) { return tx.catalog().set_quota(*account_, octets, messages); }));
        } else if (directive.name == "switch") {
            turn(directive);
        } else if (directive.name == "stop") {
            for (net::Stream* stream : streams_) stream->interrupt();
        } else {
            co_return Error(Errc::unsupported, "unknown directive @" + directive.name);
        }
        co_return Result<>();
    }

    /// Waits for the sessions; only then may the world go.
    net::Task<void> end() { co_await sessions_.join(); }

 private:
    void deliver(const Directive& directive) {
        const std::string& mailbox = directive.arguments.at(0);
        const std::string text = must(unescape(std::string_view(directive.rest).substr(mailbox.size() + 1)));
        must(host_.deliver(*account_, mailbox, text));
    }
    void turn(const Directive& directive) {
        const auto& words = directive.arguments;
        std::string client;
        for (std::size_t i = 3; i < words.size(); ++i) client += (client.empty() ? "" : " ") + words[i];
        must(host_.store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::AccountId account{};
            if (words.at(2) != "everyone") {
                TRY(const auto found, tx.catalog().account(words.at(2)));
                account = found.id;
            }
            storage::SwitchTx switches(tx);
            return words.at(0) == "off" ? switches.switch_off(account, client, words.at(1))
                                        : switches.switch_on(account, client, words.at(1));
        }));
    }
    void change(const Directive& directive) {
        const storage::Uid uids[] = {static_cast<storage::Uid>(std::stoul(directive.arguments.at(1)))};
        must(host_.store->write({}, [&](storage::Tx& tx) -> Result<> {
            auto& mail = tx.mail(*account_);
            TRY(const auto box, mail.mailbox(directive.arguments.at(0)));
            if (directive.name == "expunge") {
                TRY([[maybe_unused]] const auto gone, mail.expunge(box.id, uids));
                return {};
            }
            storage::FlagChange flagged;
            flagged.flags = storage::bit(storage::Flag::flagged);
            TRY([[maybe_unused]] const auto outcome, mail.store(box.id, uids, flagged, std::nullopt));
            return {};
        }));
    }

    ImapHost host_;
    std::unique_ptr<server::imap::SwitchBoard> switches_;
    net::TaskGroup sessions_;
    net::IpAddress peer_;
    std::optional<storage::AccountId> account_;
    std::vector<net::Stream*> streams_;
};

net::Task<void> play_and_stop(const Transcript& transcript, ImapWorld& world, net::Loop& loop, Result<>& result) {
    result = co_await play(transcript, world);
    co_await world.end();
    loop.stop();
}

int run_file(const std::string& path) {
    const Transcript transcript = must(load_transcript(path));
    net::Loop loop;
    Result<> result;
    {
        ImapWorld world(loop, transcript);
        net::TaskGroup group(loop);
        group.spawn("transcript", play_and_stop(transcript, world, loop, result));
        loop.run();
        while (group.size() > 0) loop.poll();
    }
    if (result) return 0;
    std::fprintf(stderr, "%s\n", result.error().context.c_str());
    return 1;
}

}  // namespace

}  // namespace posthouse::test

int main(int argc, char** argv) {
    const std::string first = argc > 1 ? argv[1] : "";
    if (first == "--coverage" && argc == 3) return posthouse::test::check_imap_coverage(argv[2]) == 0 ? 0 : 1;
    if (argc == 2) return posthouse::test::run_file(first);
    std::fprintf(stderr, "usage: imap_runner FILE | --coverage DIRECTORY\n");
    return 2;
}
