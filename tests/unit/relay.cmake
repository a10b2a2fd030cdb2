posthouse_unit_test(NAME relay
  SOURCES relay/client_test.cpp relay/controller_test.cpp relay/dsn_test.cpp relay/fairness_test.cpp relay/family_test.cpp
          relay/forward_test.cpp relay/lane_test.cpp relay/line_ends_test.cpp relay/lost_mail_test.cpp
          relay/mx_test.cpp relay/places_test.cpp relay/probe_test.cpp relay/receipts_test.cpp
          relay/relay_test.cpp relay/report_test.cpp relay/route_test.cpp
          relay/schedule_test.cpp relay/site_test.cpp relay/standstill_test.cpp relay/starttls_conformance_test.cpp
          relay/suppression_test.cpp relay/tls_demand_test.cpp relay/tls_relay_test.cpp relay/tls_report_test.cpp
          relay/tokens_test.cpp relay/way_check_test.cpp relay/ways_test.cpp relay/webhooks_test.cpp
  USES    relay protocols_report test_support test_json)

# How the big receivers behave, one bad host of several, and directories out of order.
posthouse_unit_test(NAME relay_receivers SAME_THREADS
  SOURCES relay/directory_test.cpp relay/host_quarantine_test.cpp relay/receivers_test.cpp
  USES    relay protocols_report test_support test_json)

# What addresses and accounts are worth: weeks of mail under the virtual clock.
posthouse_unit_test(NAME relay_standing SAME_THREADS
  SOURCES relay/address_choice_test.cpp relay/guard_test.cpp relay/incidents_test.cpp relay/measured_test.cpp
          relay/replies_test.cpp relay/reputation_host_test.cpp relay/reputation_test.cpp relay/standing_test.cpp
          relay/warm_up_test.cpp
  USES    relay protocols_report test_support test_json)

# The fate of every accepted recipient in seeded runs: POSTHOUSE_FATE_RUNS of them.
posthouse_unit_test(NAME relay_fates
  SOURCES relay/fates_test.cpp
  USES    relay protocols_report test_support test_json)
