#pragma once
/// admin/transfer/imap_session: a login that comes back: a lost connection is dialled again a few times with a growing
/// pause, a server that asks for patience gets it, and each time a sentence says so.
/// Threads: as ImapWire.   Limits: kTriesMax failures in a row; progressed() begins anew.
#include <memory>
#include <string>

#include "admin/transfer/imap_client.h"

namespace posthouse::transfer {

class ImapSession {
 public:
    static constexpr int kTriesMax = 6;

    ImapSession(const ImapOutside& outside, ImapUrl url, std::string password)
        : outside_(outside), url_(std::move(url)), password_(std::move(password)) {}

    /// The connection; dials where there is none.
    Result<ImapClient*> ready();
    /// Call after an error: closes, and waits where another try may help. Else gives `why` back.
    Result<> recover(const Error& why);
    /// Something was taken: the next failure is the first again.
    void progressed() { failures_ = 0; }
    const ImapOutside& outside() const { return outside_; }
    const ImapUrl& url() const { return url_; }

 private:
    const ImapOutside& outside_;
    const ImapUrl url_;
    const std::string password_;
    std::unique_ptr<ImapClient> client_;
    int failures_ = 0;
};

}  // namespace posthouse::transfer
