#pragma once
/// server/web/unsubscribe: the page behind List-Unsubscribe (RFC 8058). POST unsubscribes at once: no login, no cookie,
/// no redirect (RFC 8058 3.2), whatever its body says; GET shows a button and changes nothing.
/// Threads: the loop's.
#include <string>

#include "protocols/net/task.h"
#include "server/web/web.h"

namespace posthouse::server {

/// `method` is GET, HEAD or POST; `peer` is kept as whence it came.
net::Task<PageAnswer> answer_unsubscribe(const WebDeps& deps, std::string method, std::string token, std::string peer);

}  // namespace posthouse::server
