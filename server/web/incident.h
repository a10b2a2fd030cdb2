#pragma once
/// server/web/incident: the page behind the link in the mail about an incident (storage/incident_link). Only POST says
/// that it is mended: no login, no cookie, so that nobody can be made to press the button unknowingly; GET shows it.
/// Threads: the loop's.
#include <string>

#include "protocols/net/task.h"
#include "server/web/web.h"

namespace posthouse::server {

/// `method` is GET, HEAD or POST; `peer` is kept as whence it came.
net::Task<PageAnswer> answer_incident(const WebDeps& deps, std::string method, std::string token, std::string peer);

}  // namespace posthouse::server
