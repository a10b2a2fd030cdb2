#pragma once
/// server/delivery/bounce_addresses: addresses that we made ourselves and put into the reverse-path of mail on its way
/// out (relay/reverse_path): whose are they? They are known by their form, and live at any domain of ours and at the
/// return-path domains of ways, where nobody else has an address. SRS addresses stand for somebody else's; tokens for a
/// message that left, and its sender (server/returns).
/// Threads: values, immutable.
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/mailauth/return_token.h"
#include "protocols/mailauth/srs.h"
#include "protocols/smtp/path.h"
#include "storage/store.h"

namespace posthouse::server {

class DirectoryPicture;

class BounceAddresses {
 public:
    /// The return-path domains and the setting "srs.domain".
    static Result<BounceAddresses> load(const storage::Snapshot& snapshot, std::string_view sealing_key);

    /// Whether it has the form and the place of a token for late bounces (protocols/mailauth/return_token), and what
    /// it says. Errc::refused as below.
    bool is_token(const ::posthouse::smtp::Path& path, const DirectoryPicture& picture) const;
    Result<mailauth::ReturnToken> read_token(const ::posthouse::smtp::Path& path, Time now) const;
    /// Whether it has the form and the place of one.
    bool is_one(const ::posthouse::smtp::Path& path, const DirectoryPicture& picture) const;
    /// Whom it stands for. Errc::refused with a sentence for the client: forged, or too old.
    Result<::posthouse::smtp::Path> resolve(const ::posthouse::smtp::Path& path, Time now) const;
    /// The domain in the reverse-path of what an alias of `domain` passes on.
    std::string forwarding_domain(std::string_view domain) const;

 private:
    bool is_at_home(const ::posthouse::smtp::Path& path, const DirectoryPicture& picture) const;

    mailauth::SrsKeys keys_;
    mailauth::ReturnKeys token_keys_;
    std::vector<std::string> domains_;
    std::string forwarding_;
};

}  // namespace posthouse::server
