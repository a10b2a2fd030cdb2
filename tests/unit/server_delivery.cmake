posthouse_unit_test(NAME server_delivery
  SOURCES server/delivery/bounce_addresses_test.cpp server/delivery/directory_test.cpp server/delivery/keys_test.cpp server/delivery/late_mail_test.cpp server/delivery/program_door_test.cpp server/delivery/relay_clients_test.cpp
          server/delivery/staged_sink_test.cpp
  USES server_delivery)
posthouse_unit_test(NAME server_auth
  SOURCES server/auth/exchange_test.cpp server/auth/failures_test.cpp
  USES server_auth)
