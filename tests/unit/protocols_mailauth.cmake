# Cases in YAML, and a Resolver over their zones.
add_library(posthouse_test_zone STATIC ${CMAKE_SOURCE_DIR}/tests/support/yaml.cpp)
target_link_libraries(posthouse_test_zone PUBLIC posthouse_test_json posthouse_protocols_dns)
posthouse_unit_test(NAME protocols_mailauth ONE_THREAD
  SOURCES protocols/mailauth/arc_test.cpp protocols/mailauth/auth_results_test.cpp protocols/mailauth/canonical_test.cpp protocols/mailauth/dkim_conformance_test.cpp
          protocols/mailauth/dkim_test.cpp protocols/mailauth/dmarc_test.cpp protocols/mailauth/foresee_test.cpp
          protocols/mailauth/judge_test.cpp protocols/mailauth/spf_test.cpp protocols/mailauth/srs_test.cpp protocols/mailauth/return_token_test.cpp
  USES protocols_mailauth test_support test_json test_zone)
# Signs a message for tests/interop/dkim_judge.py.
add_executable(dkim_sign_tool ${CMAKE_SOURCE_DIR}/tests/support/dkim_sign_tool.cpp)
add_dependencies(tests_slow dkim_sign_tool)
target_link_libraries(dkim_sign_tool PRIVATE posthouse_flags posthouse_protocols_mailauth)
# Label interop: a verifier that is not ours looks at what we sign. Skipped (77) where python3-dkim is missing.
# The distribution's own Python is asked for by path: its packages are not seen by another one.
add_test(NAME dkim_judge
  COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/interop/dkim_judge.py --tool $<TARGET_FILE:dkim_sign_tool>)
set_tests_properties(dkim_judge PROPERTIES LABELS "interop" SKIP_RETURN_CODE 77 TIMEOUT 120)
