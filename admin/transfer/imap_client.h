#pragma once
/// admin/transfer/imap_client: one login to an IMAP server that mail is taken from. It only ever looks: EXAMINE and
/// BODY.PEEK[] change nothing there (RFC 3501 6.3.2, 6.4.5).
/// Errors say whose fault it is: unauthenticated (login refused), tls, refused (the server's NO), limit (it asks to
/// slow
/// down), invalid (no IMAP), cancelled (Ctrl-C); closed, timeout, unreachable, io: the connection is lost.
/// Threads: as ImapWire.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "admin/transfer/imap_url.h"
#include "admin/transfer/imap_wire.h"
#include "protocols/net/dialer.h"
#include "protocols/net/tls.h"

namespace posthouse::transfer {

/// What an import needs from outside; all of it outlives the import.
struct ImapOutside {
    net::Loop* loop = nullptr;
    net::Dialer* dialer = nullptr;
    net::TlsClientContext* tls = nullptr;  ///< verifies; may be null for imap+plain://
    std::function<Result<std::vector<net::IpAddress>>(const std::string& host)> resolve;
    std::function<bool()> interrupted;  ///< Ctrl-C came
    /// Waits; false where Ctrl-C came meanwhile. Tests do not wait.
    std::function<bool(std::chrono::milliseconds)> pause;
    std::function<void(const std::string& sentence)> note;  ///< for the person who watches
    std::chrono::milliseconds silence_max{120'000};         ///< RFC 3501 says none; slow servers need most of this
};

struct Selected {
    std::uint32_t exists = 0;
    std::uint32_t uid_validity = 0;  ///< 0: the server keeps none
    std::uint32_t uid_next = 0;
    std::uint64_t highest_modseq = 0;  ///< 0: NOMODSEQ
};

/// What comes in while commands are under way.
struct ImapEvent {
    enum class Kind { body_begin, body, untagged, tagged };
    Kind kind = Kind::untagged;
    std::uint64_t octets_total = 0;
    std::string_view octets;
    imap::ServerResponse response;
    bool garbled = false;  ///< an untagged response that could not be read
    Result<> verdict;      ///< of tagged
};

class ImapClient {
 public:
    using Visitor = std::function<void(imap::ResponseData&)>;

    /// Dials, protects the connection and logs in.
    static Result<std::unique_ptr<ImapClient>> open(const ImapOutside& outside, const ImapUrl& url,
                                                    const std::string& password);
    /// Says LOGOUT without waiting for the answer.
    ~ImapClient();
    ImapClient(const ImapClient&) = delete;
    ImapClient& operator=(const ImapClient&) = delete;

    bool can(std::string_view capability) const { return capabilities_.contains(capability); }
    /// One command and all that comes before its end; `visit` may be null.
    Result<> command(std::string_view text, const Visitor& visit);
    /// Sends a command without waiting; gives back its tag.
    Result<std::string> begin(std::string_view text);
    /// The next event; BYE is Errc::closed or limit with what the server said.
    Result<ImapEvent> next();
    /// EXAMINE. `name` as on the wire.
    Result<Selected> examine(const std::string& name);
    /// A mailbox name or a secret as a quoted string; Errc::unsupported where it cannot be one.
    static Result<std::string> quote(std::string_view text);

 private:
    ImapClient(const ImapOutside& outside, const ImapUrl& url, std::unique_ptr<ImapWire> wire)
        : outside_(outside), url_(url), wire_(std::move(wire)) {}

    static Result<std::unique_ptr<ImapClient>> open_at(const ImapOutside& outside, const ImapUrl& url, net::Endpoint at,
                                                       const std::string& password);
    Result<> protect();
    Result<> greet();
    Result<> learn_capabilities();
    Result<> log_in(const std::string& password);
    Result<> authenticate_plain(const std::string& password);
    Result<> authenticate_scram(const std::string& password);
    Result<> plain_login(const std::string& password);
    /// What the server asks, without its base64; nothing where it has answered the command, in `verdict`.
    Result<std::optional<std::string>> next_challenge(const std::string& tag, Result<>& verdict);
    /// Sends `octets` when the server says "+"; the command's tag is `tag`.
    Result<> continue_with(const std::string& tag, std::string_view octets);
    Result<> wait_for(const std::string& tag, const Visitor& visit);
    void take_note(const imap::ResponseData& data);
    Result<> verdict_of(const imap::Condition& condition) const;

    const ImapOutside& outside_;
    const ImapUrl url_;
    std::unique_ptr<ImapWire> wire_;
    std::set<std::string, std::less<>> capabilities_;
    bool capabilities_told_ = false;  // since the last change of state
    bool logged_in_ = false;
    unsigned last_tag_ = 0;
    std::string last_alert_;
};

/// Whether the connection is lost, so that dialling again may help.
bool is_lost(Errc code);

}  // namespace posthouse::transfer
