#include "server/delivery/bounce_addresses.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "server/delivery/directory.h"
#include "storage/routes.h"
#include "storage/settings.h"

namespace posthouse::server {

Result<BounceAddresses> BounceAddresses::load(const storage::Snapshot& snapshot, std::string_view sealing_key) {
    BounceAddresses out;
    out.keys_ = mailauth::srs_keys(sealing_key);
    out.token_keys_ = mailauth::return_keys(sealing_key);
    TRY(out.forwarding_, storage::setting_text(snapshot.catalog(), "srs.domain"));
    out.forwarding_ = ascii::to_lower(out.forwarding_);
    if (!out.forwarding_.empty()) out.domains_.push_back(out.forwarding_);
    TRY(const auto ways, storage::RouteView(snapshot).ways());
    for (const storage::Way& way : ways) {
        if (!way.return_path.empty()) out.domains_.push_back(ascii::to_lower(way.return_path));
    }
    return out;
}

bool BounceAddresses::is_at_home(const smtp::Path& path, const DirectoryPicture& picture) const {
    return picture.is_ours(path.domain) || std::ranges::find(domains_, ascii::to_lower(path.domain)) != domains_.end();
}

bool BounceAddresses::is_one(const smtp::Path& path, const DirectoryPicture& picture) const {
    return mailauth::is_srs(path.local_part) && is_at_home(path, picture);
}

bool BounceAddresses::is_token(const smtp::Path& path, const DirectoryPicture& picture) const {
    return mailauth::is_return_token(path.local_part) && is_at_home(path, picture);
}

Result<mailauth::ReturnToken> BounceAddresses::read_token(const smtp::Path& path, Time now) const {
    auto token = mailauth::read_return_token(token_keys_, path.local_part, now);
    if (!token) return Error(Errc::refused, token.error().context);
    return token;
}

Result<smtp::Path> BounceAddresses::resolve(const smtp::Path& path, Time now) const {
    auto found = mailauth::srs_reverse(keys_, path.local_part, now);
    if (!found) return Error(Errc::refused, found.error().context);
    smtp::Path out(std::move(found->local), std::move(found->domain));
    if (out.is_literal()) return Error(Errc::refused, "This bounce address leads to no domain");
    return out;
}

std::string BounceAddresses::forwarding_domain(std::string_view domain) const {
    return forwarding_.empty() ? ascii::to_lower(domain) : forwarding_;
}

}  // namespace posthouse::server
