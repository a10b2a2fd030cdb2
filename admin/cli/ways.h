#pragma once
/// admin/cli/ways: from what is typed to a way: a URL or a preset with its limits, its secret sealed for the store.
#include <string>

#include "admin/cli/command.h"
#include "protocols/smtp/relay_url.h"
#include "storage/routes.h"

namespace posthouse::admin {

/// --client-cert and --client-key into the URL: what is shown of us where the relay asks. An empty --client-cert takes
/// both out. The files are looked into.
Result<> read_client_certificate(const Invocation& call, smtp::RelayUrl& url);
/// Whether the text is a URL or a preset and not the name of a way.
bool is_relay_url(std::string_view text);
/// A way called `name` that hands mail to `text`. Takes --ca-file, --client-cert, --password-file, --header, the limits
/// and the --oauth options of the call where they are given; asks for the secret where one is needed.
Result<storage::Way> read_way(Invocation& call, const std::string& name, const std::string& text);
/// The limits and headers of the way's preset, where it has one.
void take_preset(storage::Way& way);
/// "3 connections, 30 recipients a minute" or "no limit".
std::string limits_text(const storage::WayLimits& limits);
/// A number of an option, at least 1. Errc::invalid names the option.
Result<std::uint32_t> read_count(const Invocation& call, const char* option, std::uint32_t most);

}  // namespace posthouse::admin
