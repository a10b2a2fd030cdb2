#include "admin/transfer/imap_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace posthouse::transfer {
namespace {

constexpr std::chrono::milliseconds kLostPause{2'000};
constexpr std::chrono::milliseconds kLostPauseMax{60'000};
// Gmail's daily bandwidth limit opens again by degrees; asking often only prolongs it.
constexpr std::chrono::milliseconds kPatiencePause{60'000};
constexpr std::chrono::milliseconds kPatiencePauseMax{15 * 60'000};

}  // namespace

Result<ImapClient*> ImapSession::ready() {
    if (!client_) {
        TRY(client_, ImapClient::open(outside_, url_, password_));
    }
    return client_.get();
}

Result<> ImapSession::recover(const Error& why) {
    const bool patience = why.code == Errc::limit;
    if (why.code == Errc::refused) return why;  // the server is well and said no
    client_.reset();
    if (!patience && !is_lost(why.code)) return why;
    if (++failures_ >= kTriesMax) {
        return Error(why.code, fmt::format("{}; given up after {} tries", why.context, kTriesMax));
    }
    const auto first = patience ? kPatiencePause : kLostPause;
    const auto most = patience ? kPatiencePauseMax : kLostPauseMax;
    const auto pause = std::min(first * (1 << (failures_ - 1)), most);
    outside_.note(fmt::format("{}; going on in {} s", why.context, pause.count() / 1000));
    if (!outside_.pause(pause)) return Error(Errc::cancelled, "stopped");
    return {};
}

}  // namespace posthouse::transfer
