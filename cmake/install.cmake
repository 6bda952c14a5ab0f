# What `make install` puts where, and what is made for it: the manual page and the completions, which
# the program prints itself, and the pkg-config file.
set(GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${GENERATED})
add_custom_command(OUTPUT ${GENERATED}/my-llm.1 ${GENERATED}/my-llm.bash ${GENERATED}/_my-llm ${GENERATED}/my-llm.fish
    COMMAND my-llm help --man > ${GENERATED}/my-llm.1
    COMMAND my-llm help --completion bash > ${GENERATED}/my-llm.bash
    COMMAND my-llm help --completion zsh > ${GENERATED}/_my-llm
    COMMAND my-llm help --completion fish > ${GENERATED}/my-llm.fish
    DEPENDS my-llm VERBATIM)
add_custom_target(generated ALL DEPENDS ${GENERATED}/my-llm.1)

# Paths in the pkg-config file are relative to where it lies, so that a moved installation still works.
file(RELATIVE_PATH PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" PC_PREFIX ${PC_PREFIX})
configure_file(cmake/my-llm.pc.in ${GENERATED}/my-llm.pc @ONLY)

install(TARGETS my-llm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS my_llm_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${STATIC_LIBRARY} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/my_llm.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${GENERATED}/my-llm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${GENERATED}/my-llm.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${GENERATED}/my-llm.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME my-llm)
install(FILES ${GENERATED}/_my-llm DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${GENERATED}/my-llm.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
if(EXISTS ${CMAKE_SOURCE_DIR}/models/bundled)
    install(DIRECTORY models/bundled DESTINATION ${CMAKE_INSTALL_DATADIR}/my-llm/models)
endif()

add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -DMANIFEST=${CMAKE_BINARY_DIR}/install_manifest.txt
    -DDATADIR=${CMAKE_INSTALL_FULL_DATADIR}/my-llm -P ${CMAKE_SOURCE_DIR}/cmake/uninstall.cmake VERBATIM)
