add_library(posthouse_test_json STATIC ${CMAKE_SOURCE_DIR}/tests/support/json.cpp)
target_link_libraries(posthouse_test_json PUBLIC posthouse_flags posthouse_protocols_base fmt::fmt)

posthouse_unit_test(NAME protocols_mime ONE_THREAD
  SOURCES protocols/mime/address_test.cpp protocols/mime/binary_parts_test.cpp protocols/mime/build_test.cpp protocols/mime/casemap_test.cpp protocols/mime/compose_test.cpp protocols/mime/fields_test.cpp
          protocols/mime/golden_test.cpp protocols/mime/message_test.cpp protocols/mime/preview_test.cpp
          protocols/mime/search_text_test.cpp
  USES protocols_mime protocols_crypto test_json)
