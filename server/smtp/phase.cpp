#include "server/smtp/phase.h"

namespace posthouse::server::smtp {

namespace {

constexpr Phases next_phases(Phase from) {
    switch (from) {
        case Phase::start: return {Phase::greeted};
        case Phase::greeted: return {Phase::ready, Phase::handshake, Phase::chunk};
        case Phase::ready: return {Phase::mail, Phase::auth, Phase::handshake, Phase::chunk};
        case Phase::mail: return {Phase::rcpt, Phase::ready, Phase::chunk};
        case Phase::rcpt: return {Phase::data, Phase::chunk, Phase::ready};
        case Phase::data: return {Phase::ready};
        case Phase::chunk: return {Phase::chunks, Phase::ready, Phase::greeted};
        case Phase::chunks: return {Phase::chunk, Phase::ready};
        case Phase::auth: return {Phase::ready};
        case Phase::handshake: return {Phase::greeted};
        case Phase::closing: break;
    }
    return {};
}

}  // namespace

std::string_view to_string(Phase phase) {
    constexpr std::string_view kNames[] = {"start", "greeted", "ready", "mail",      "rcpt",   "data",
                                           "chunk", "chunks",  "auth",  "handshake", "closing"};
    return kNames[static_cast<std::size_t>(phase)];
}

bool is_edge(Phase from, Phase to) {
    if (to == Phase::closing) return from != Phase::closing;
    return next_phases(from).has(to);
}

}  // namespace posthouse::server::smtp
