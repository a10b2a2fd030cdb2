// Changes of what the administrator sets. Names are checked here, for every way in (command line, API, import), and the
// sentences of refusals are made to be shown.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/text.h"
#include "storage/catalog_impl.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kLocalOctetsMax = 64;    // RFC 5321 4.5.3.1.1
constexpr std::size_t kDomainOctetsMax = 255;  // RFC 5321 4.5.3.1.2
constexpr std::size_t kTargetsMax = 1000;
constexpr std::uint64_t kQuotaMax = 1ULL << 62U;
constexpr std::int64_t kRetentionDaysMax = 36500;
constexpr std::string_view kSpecialUses[] = {"\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive"};

bool is_plain(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return ascii::is_control(c) || c == ' '; }) &&
           ascii::is_valid_utf8(text);
}

}  // namespace

std::string_view domain_of(std::string_view address) {
    const std::size_t at = address.rfind('@');
    return at == std::string_view::npos ? std::string_view() : address.substr(at + 1);
}

Result<std::string> check_domain(std::string_view name) {
    // Letters, digits, hyphens, UTF-8: what RCPT can name (RFC 5321 4.1.2). Any other would never receive anything.
    const bool of_labels = std::ranges::all_of(
        name, [](char c) { return ascii::is_alnum(c) || ascii::is_8bit(c) || c == '-' || c == '.'; });
    const bool shaped = !name.empty() && name.size() <= kDomainOctetsMax && is_plain(name) && of_labels &&
                        name.front() != '.' && name.back() != '.' && name.find("..") == std::string_view::npos;
    if (!shaped) return Error(Errc::invalid, fmt::format("\"{}\" is not a domain name", name));
    return ascii::to_lower(name);
}

Result<std::string> check_address(std::string_view address, AddressKind kind) {
    const std::size_t at = address.rfind('@');
    if (at == std::string_view::npos) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not an address: write local-part@domain", address));
    }
    const std::string_view local = address.substr(0, at);
    TRY(const std::string domain, check_domain(address.substr(at + 1)));
    const bool catch_all = kind == AddressKind::alias && local.empty();
    if (!catch_all && (local.empty() || local.size() > kLocalOctetsMax || !is_plain(local))) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not an address: the part before @ is wrong", address));
    }
    // What looks alike must be one address, whichever keyboard it was typed on.
    if (kind != AddressKind::target && !mime::is_composed(local)) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is not in composed form (NFC): type its letters anew", address));
    }
    // Remote addresses keep the case of their local part: it is theirs to interpret (RFC 5321 2.4).
    if (kind == AddressKind::target) return fmt::format("{}@{}", local, domain);
    if (local.find_first_of("@\"<>,;:()[]\\") != std::string_view::npos) {
        return Error(Errc::invalid, fmt::format("\"{}\" has a character that a local address cannot have", address));
    }
    return fmt::format("{}@{}", ascii::to_lower(local), domain);
}

Result<> CatalogImpl::change(Query&& query, std::string_view otherwise) {
    TRY_VOID(query.run());
    if (db_.changes() == 0) return Error(Errc::not_found, std::string(otherwise));
    context_.write->notice.catalog = true;
    return {};
}

Result<bool> CatalogImpl::any(Query&& query) const { return query.row(); }

Result<DomainId> CatalogImpl::add_domain(std::string_view name) {
    TRY(const std::string key, check_domain(name));
    if (domain(key)) return Error(Errc::already_exists, fmt::format("there is a domain {} already", key));
    TRY_VOID(
        change(db_.query("INSERT INTO domains (name, created_ms) VALUES (?1, ?2)").bind(key, context_.write->now), ""));
    return static_cast<DomainId>(db_.last_id());
}

// Errc::conflict while addresses of it are here.
Result<> CatalogImpl::check_bare(const Domain& found) const {
    TRY(const bool has_accounts, any(db_.query("SELECT 1 FROM accounts WHERE domain = ?1 LIMIT 1").bind(found.id)));
    if (has_accounts) return Error(Errc::conflict, fmt::format("{} still has accounts: remove them first", found.name));
    TRY(const std::vector<Alias> all, aliases());
    for (const Alias& alias : all) {
        if (domain_of(alias.address) == found.name) {
            return Error(Errc::conflict,
                         fmt::format("{} still has the alias {}: remove it first", found.name, alias.address));
        }
    }
    return {};
}

// What is there for its mailboxes.
Result<> CatalogImpl::drop_keeping(const Domain& found) {
    TRY_VOID(db_.query("DELETE FROM sts_served WHERE domain = ?1").bind(found.id).run());
    return db_.query("DELETE FROM retention_rules WHERE scope = ?1").bind(found.name).run();
}

Result<> CatalogImpl::set_hosted(std::string_view name, bool hosted) {
    TRY(const Domain found, domain(name));
    if (!hosted) {
        TRY_VOID(check_bare(found));
        TRY_VOID(drop_keeping(found));
    }
    return change(db_.query("UPDATE domains SET hosted = ?2 WHERE id = ?1").bind(found.id, hosted),
                  "the domain is gone");
}

Result<> CatalogImpl::remove_domain(std::string_view name) {
    TRY(const Domain found, domain(name));
    TRY_VOID(check_bare(found));
    TRY_VOID(drop_keeping(found));
    TRY_VOID(db_.query("DELETE FROM dkim_keys WHERE domain = ?1").bind(found.id).run());
    return change(db_.query("DELETE FROM domains WHERE id = ?1").bind(found.id), "the domain is gone");
}

Result<> CatalogImpl::address_is_free(std::string_view address) const {
    if (account(address)) return Error(Errc::already_exists, fmt::format("there is an account {} already", address));
    TRY(const bool alias, any(db_.query("SELECT 1 FROM aliases WHERE address = ?1").bind(address)));
    if (alias) return Error(Errc::already_exists, fmt::format("there is an alias {} already", address));
    return {};
}

Result<AccountId> CatalogImpl::add_account(std::string_view address, std::string_view password_hash,
                                           std::string_view display_name) {
    TRY(const std::string key, check_address(address, AddressKind::mailbox));
    if (!is_plain(password_hash) || std::ranges::any_of(display_name, ascii::is_control)) {
        return Error(Errc::invalid, "a display name cannot have control characters");
    }
    TRY_VOID(address_is_free(key));
    TRY(const Domain whose, home(domain_of(key)));
    const Time now = context_.write->now;
    // The first UIDVALIDITY is the time, so that an account made anew under an old address gets higher ones.
    const std::int64_t validity = std::max<std::int64_t>(1, to_unix_ms(now) / 1000);
    TRY_VOID(change(db_.query("INSERT INTO accounts (domain, address, display_name, password_hash, uid_validity_next, "
                              "created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
                        .bind(whose.id, key, display_name, password_hash, validity, now),
                    ""));
    const auto id = static_cast<AccountId>(db_.last_id());
    struct Folder {
        std::string_view name;
        SpecialUse use;
    };
    constexpr Folder kFolders[] = {{"INBOX", SpecialUse::none},  {"Drafts", SpecialUse::drafts},
                                   {"Sent", SpecialUse::sent},   {"Junk", SpecialUse::junk},
                                   {"Trash", SpecialUse::trash}, {"Archive", SpecialUse::archive}};
    MailImpl mail(context_, id);
    for (const Folder& folder : kFolders) {
        TRY_VOID(mail.create(folder.name, folder.use));
        TRY_VOID(mail.set_subscribed(folder.name, true));
    }
    return id;
}

Result<> CatalogImpl::set_password_hash(AccountId id, std::string_view password_hash) {
    // The old password must not prove itself any more (storage/credentials.h).
    TRY_VOID(db_.query("DELETE FROM scram_keys WHERE account = ?1").bind(id).run());
    return change(db_.query("UPDATE accounts SET password_hash = ?2 WHERE id = ?1").bind(id, password_hash),
                  "there is no such account");
}

Result<> CatalogImpl::set_disabled(AccountId id, bool disabled) {
    return change(db_.query("UPDATE accounts SET disabled = ?2 WHERE id = ?1").bind(id, disabled),
                  "there is no such account");
}

Result<> CatalogImpl::set_file_sent(AccountId id, bool file_sent) {
    return change(db_.query("UPDATE accounts SET file_sent = ?2 WHERE id = ?1").bind(id, file_sent),
                  "there is no such account");
}

Result<> CatalogImpl::set_quota(AccountId id, std::uint64_t octets, std::uint64_t messages) {
    if (octets > kQuotaMax || messages > kQuotaMax) return Error(Errc::invalid, "the quota is too large to be meant");
    return change(db_.query("UPDATE accounts SET quota_octets = ?2, quota_messages = ?3 WHERE id = ?1")
                      .bind(id, octets, messages),
                  "there is no such account");
}

Result<> CatalogImpl::set_domain_quota(DomainId id, std::uint64_t octets, std::uint64_t messages) {
    if (octets > kQuotaMax || messages > kQuotaMax) return Error(Errc::invalid, "the quota is too large to be meant");
    return change(
        db_.query("UPDATE domains SET quota_octets = ?2, quota_messages = ?3 WHERE id = ?1").bind(id, octets, messages),
        "there is no such domain");
}

Result<> CatalogImpl::remove_account(AccountId id) {
    MailImpl mail(context_, id);
    TRY(const Account gone, account(id));
    TRY_VOID(mail.remove_everything());
    TRY_VOID(db_.query("DELETE FROM retention_rules WHERE scope = ?1").bind(gone.address).run());
    TRY_VOID(db_.query("DELETE FROM api_tokens WHERE account = ?1").bind(id).run());
    TRY_VOID(db_.query("DELETE FROM scram_keys WHERE account = ?1").bind(id).run());
    TRY_VOID(db_.query("DELETE FROM app_passwords WHERE account = ?1").bind(id).run());
    TRY_VOID(db_.query("DELETE FROM capability_switches WHERE account = ?1").bind(id).run());
    TRY_VOID(db_.query("DELETE FROM account_hours WHERE account = ?1").bind(id).run());
    TRY_VOID(db_.query("DELETE FROM account_recipients WHERE account = ?1").bind(id).run());
    TRY_VOID(db_.query("DELETE FROM account_trust WHERE account = ?1").bind(id).run());
    // Who gets the address next gets none of its rights.
    const std::string negative = "-" + gone.address;
    TRY_VOID(db_.query("DELETE FROM mailbox_rights WHERE identifier IN (?1, ?2)").bind(gone.address, negative).run());
    return change(db_.query("DELETE FROM accounts WHERE id = ?1").bind(id), "there is no such account");
}

Result<AliasId> CatalogImpl::add_alias(std::string_view address, const std::vector<std::string>& targets) {
    TRY(const std::string key, check_address(address, AddressKind::alias));
    TRY_VOID(home(domain_of(key)));
    TRY_VOID(address_is_free(key));
    if (targets.empty()) return Error(Errc::invalid, fmt::format("the alias {} needs a target", key));
    if (targets.size() > kTargetsMax) return Error(Errc::invalid, "an alias has at most 1000 targets");
    TRY_VOID(change(
        db_.query("INSERT INTO aliases (address, created_ms) VALUES (?1, ?2)").bind(key, context_.write->now), ""));
    const auto id = static_cast<AliasId>(db_.last_id());
    std::int64_t position = 0;
    for (const std::string& target : targets) {
        TRY(const std::string checked, check_address(target, AddressKind::target));
        TRY_VOID(db_.query("INSERT INTO alias_targets VALUES (?1, ?2, ?3)").bind(id, position, checked).run());
        ++position;
    }
    return id;
}

Result<> CatalogImpl::remove_alias(std::string_view address) {
    const std::string key = ascii::to_lower(address);
    TRY_VOID(db_.query("DELETE FROM alias_targets WHERE alias = (SELECT id FROM aliases WHERE address = ?1)")
                 .bind(key)
                 .run());
    const std::string otherwise = fmt::format("there is no alias {}", key);
    return change(db_.query("DELETE FROM aliases WHERE address = ?1").bind(key), otherwise);
}

Result<DkimKeyId> CatalogImpl::add_dkim_key(const DkimKey& key) {
    DomainId home = key.domain;
    if (raw(home) == 0) {
        TRY(const Domain named, domain(key.domain_name));
        home = named.id;
    } else {
        TRY(const bool known, any(db_.query("SELECT 1 FROM domains WHERE id = ?1").bind(home)));
        if (!known) return Error(Errc::not_found, "there is no such domain");
    }
    TRY(const std::string selector, check_domain(key.selector));
    TRY(const bool taken,
        any(db_.query("SELECT 1 FROM dkim_keys WHERE domain = ?1 AND selector = ?2").bind(home, selector)));
    if (taken) return Error(Errc::already_exists, fmt::format("there is a key with the selector {} already", selector));
    TRY_VOID(change(db_.query("INSERT INTO dkim_keys (domain, selector, algorithm, sealed_pem, dns_record, active, "
                              "created_ms, state, changed_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?7)")
                        .bind(home, selector, key.algorithm, Blob(key.sealed_pem), key.dns_record,
                              key.active && key.state == DkimState::active, context_.write->now, key.state),
                    ""));
    return static_cast<DkimKeyId>(db_.last_id());
}

Result<> CatalogImpl::set_dkim_active(DkimKeyId id, bool active) {
    return change(db_.query("UPDATE dkim_keys SET active = ?2 WHERE id = ?1").bind(id, active), "there is no such key");
}

Result<> CatalogImpl::set_dkim_state(DkimKeyId id, DkimState state) {
    return change(db_.query("UPDATE dkim_keys SET state = ?2, active = ?3, changed_ms = ?4, "
                            "sealed_pem = CASE WHEN ?5 THEN x'' ELSE sealed_pem END WHERE id = ?1")
                      .bind(id, state, state == DkimState::active, context_.write->now, state == DkimState::retired),
                  "there is no such key");
}

Result<> CatalogImpl::set_dkim_seen(DkimKeyId id, Time seen) {
    return change(db_.query("UPDATE dkim_keys SET seen_ms = ?2 WHERE id = ?1").bind(id, seen), "there is no such key");
}

Result<> CatalogImpl::set_setting(std::string_view key, std::string_view value) {
    if (key.empty() || !is_plain(key)) return Error(Errc::invalid, "a setting needs a name without blanks");
    return change(
        db_.query("INSERT INTO settings VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(key, value),
        "");
}

Result<> CatalogImpl::reset_setting(std::string_view key) {
    TRY_VOID(db_.query("DELETE FROM settings WHERE key = ?1").bind(key).run());
    context_.write->notice.catalog = true;
    return {};
}

Result<> CatalogImpl::set_retention(const RetentionRule& rule) {
    const std::string scope = ascii::to_lower(rule.scope);
    if (scope.find('@') != std::string::npos) {
        TRY_VOID(account(scope));
    } else if (!scope.empty()) {
        TRY_VOID(home(scope));
    }
    std::string mailbox = rule.mailbox;
    if (mailbox.starts_with('\\')) {
        const auto use = std::ranges::find_if(kSpecialUses, [&](auto name) { return ascii::equals_ci(name, mailbox); });
        if (use == std::end(kSpecialUses)) {
            return Error(Errc::invalid, fmt::format("{} is no special use: write \\Drafts, \\Sent, \\Junk, \\Trash or "
                                                    "\\Archive, or the name of a mailbox",
                                                    mailbox));
        }
        mailbox = *use;
    } else {
        TRY(mailbox, check_mailbox_name(mailbox));
    }
    if (rule.days < 0 || rule.days > kRetentionDaysMax) {
        return Error(Errc::invalid,
                     fmt::format("a rule of retention takes 0 (for ever) to {} days", kRetentionDaysMax));
    }
    return change(db_.query("INSERT INTO retention_rules VALUES (?1, ?2, ?3) ON CONFLICT (scope, mailbox) DO UPDATE "
                            "SET days = excluded.days")
                      .bind(scope, mailbox, rule.days),
                  "");
}

Result<> CatalogImpl::remove_retention(std::string_view scope, std::string_view mailbox) {
    const std::string key = ascii::to_lower(scope);
    return change(
        db_.query("DELETE FROM retention_rules WHERE scope = ?1 AND mailbox = ?2 COLLATE NOCASE").bind(key, mailbox),
        "there is no such rule");
}

}  // namespace posthouse::storage
