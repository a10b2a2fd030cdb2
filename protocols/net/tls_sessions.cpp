#include "protocols/net/tls_sessions.h"

#include <openssl/x509.h>

#include <algorithm>

namespace posthouse::net {

namespace {

bool is_tls13(const SSL_SESSION* session) { return SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION; }

bool has_ended(SSL_SESSION* session) {
    if (SSL_SESSION_is_resumable(session) != 1) return true;  // its connection broke
    const X509* const certificate = SSL_SESSION_get0_peer(session);
    return certificate != nullptr && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

}  // namespace

// What goes with one connection, and ends with it.
struct TlsSessions::Attached {
    std::weak_ptr<TlsSessions> home;
    std::string key;
    std::optional<TlsFacts> offered;    // what was found when the session was made that this one offers
    std::optional<TlsFacts> facts;      // once the handshake is over
    std::deque<SslSessionPtr> waiting;  // came before that (TLS 1.2)
};

int TlsSessions::index() {
    static const int number =
        SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, [](void*, void* held, CRYPTO_EX_DATA*, int, long, void*) {
            const std::unique_ptr<Attached> gone(static_cast<Attached*>(held));
        });
    return number;
}

TlsSessions::Attached* TlsSessions::attached(const SSL* ssl) {
    return static_cast<Attached*>(SSL_get_ex_data(ssl, index()));
}

void TlsSessions::listen(SSL_CTX* context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, take_session);
}

// 1: the session is ours to free.
int TlsSessions::take_session(SSL* ssl, SSL_SESSION* session) {
    Attached* const at = attached(ssl);
    if (at == nullptr) return 0;
    SslSessionPtr held(session);
    const auto home = at->home.lock();
    if (home && at->facts) {
        home->keep(at->key, std::move(held), *at->facts);
    } else if (at->waiting.size() < kSessionsAPlace) {
        at->waiting.push_back(std::move(held));
    }
    return 1;
}

void TlsSessions::prepare(SSL* ssl, std::string key) {
    auto fresh = std::make_unique<Attached>();
    fresh->home = weak_from_this();
    fresh->key = std::move(key);
    if (auto known = find(fresh->key); known && SSL_set_session(ssl, known->session.get()) == 1) {
        fresh->offered = std::move(known->facts);
    }
    if (SSL_set_ex_data(ssl, index(), fresh.get()) == 1) {
        fresh.release();
    } else {
        SSL_set_session(ssl, nullptr);
    }
}

void TlsSessions::finished(SSL* ssl, TlsFacts& facts) {
    Attached* const at = attached(ssl);
    if (at == nullptr) return;
    if (facts.resumed && at->offered) {
        facts.peer_verified = at->offered->peer_verified;
        facts.dane = at->offered->dane;
        facts.verify_error = at->offered->verify_error;
        facts.fault = at->offered->fault;
    }
    at->facts = facts;
    const auto home = at->home.lock();
    while (!at->waiting.empty()) {
        if (home) home->keep(at->key, std::move(at->waiting.front()), facts);
        at->waiting.pop_front();
    }
}

void TlsSessions::failed(SSL* ssl) {
    Attached* const at = attached(ssl);
    if (at == nullptr || !at->offered) return;
    if (const auto home = at->home.lock()) home->places_.erase(at->key);
}

void TlsSessions::keep(const std::string& key, SslSessionPtr session, const TlsFacts& facts) {
    if (SSL_SESSION_is_resumable(session.get()) != 1) return;
    if (places_.size() >= kPlacesMax && !places_.contains(key)) {
        places_.erase(std::ranges::min_element(places_, {}, [](const auto& p) { return p.second.back().since; }));
    }
    std::deque<Kept>& place = places_[key];
    if (place.size() >= kSessionsAPlace) place.pop_front();
    place.push_back(Kept{std::move(session), facts, std::chrono::steady_clock::now()});
}

// The newest. One of TLS 1.2 stays for the next connection too.
std::optional<TlsSessions::Kept> TlsSessions::find(const std::string& key) {
    const auto place = places_.find(key);
    if (place == places_.end()) return std::nullopt;
    const auto stale = std::chrono::steady_clock::now() - kLifetime;
    std::erase_if(place->second, [&](const Kept& one) { return one.since < stale || has_ended(one.session.get()); });
    std::optional<Kept> out;
    if (!place->second.empty()) {
        Kept& newest = place->second.back();
        if (is_tls13(newest.session.get())) {
            out = std::move(newest);
            place->second.pop_back();
        } else {
            SSL_SESSION_up_ref(newest.session.get());
            out = Kept{SslSessionPtr(newest.session.get()), newest.facts, newest.since};
        }
    }
    if (place->second.empty()) places_.erase(place);
    return out;
}

}  // namespace posthouse::net
