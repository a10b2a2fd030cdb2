posthouse_unit_test(NAME server_config SOURCES server/config/config_test.cpp USES server_config)
