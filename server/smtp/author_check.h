#pragma once
/// server/smtp/author_check: our own people at the end of a message: may they write in this name, and will it be
/// believed? One judge for sessions and for what programs hand in otherwise. Threads: the loop's.
#include <optional>

#include "protocols/net/task.h"
#include "protocols/smtp/reply.h"
#include "server/smtp/alignment.h"
#include "server/smtp/backend.h"
#include "server/smtp/intake.h"

namespace posthouse::server::smtp {

/// The refusal, or nothing. `about.login` must be there for a question to arise; `alignment` may be null. All outlive
/// the answer.
net::Task<std::optional<wire::Reply>> check_author(Backend& backend, AlignmentCheck* alignment, const Envelope& about,
                                                   Intake& intake);

}  // namespace posthouse::server::smtp
