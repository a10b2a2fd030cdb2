#pragma once
/// protocols/sasl/token: a token of an OpenID provider in the place of a password: OAUTHBEARER (RFC 7628) and XOAUTH2,
/// its forerunner, which many clients still speak. The token is opaque here.
/// Threads: values.
#include <memory>

#include "protocols/sasl/sasl.h"

namespace posthouse::sasl {

std::unique_ptr<ServerMechanism> make_oauthbearer_server();
std::unique_ptr<ServerMechanism> make_xoauth2_server();

}  // namespace posthouse::sasl
