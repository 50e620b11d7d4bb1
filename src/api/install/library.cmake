# libpons, static and shared: all rooms in one library that exports include/pons; what is installed beside it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
include(${CMAKE_CURRENT_LIST_DIR}/flatten.cmake)

set(objects)
foreach(room IN LISTS PONS_ROOMS)
  list(APPEND objects $<TARGET_OBJECTS:${room}>)
endforeach()
foreach(level IN LISTS PONS_LEVELS) # objects that pons_kern takes over are not among its own
  list(APPEND objects $<TARGET_OBJECTS:pons_kern_${level}>)
endforeach()
pons_flatten(PONS_PRIVATE_LIBRARIES ${PONS_HDF5} PkgConfig::JANSSON PkgConfig::YAML PkgConfig::PCRE2 PkgConfig::UTF8PROC
  PkgConfig::LIBZIP pons_openblas ${SCALAPACK_LIBRARY} OpenMP::OpenMP_C m)
if(PONS_ONEDNN_IS_KNOWN)
  list(APPEND PONS_PRIVATE_LIBRARIES ${DNNL_LIBRARY})
endif()

foreach(kind shared static)
  string(TOUPPER ${kind} KIND)
  add_library(libpons_${kind} ${KIND} ${objects})
  set_target_properties(libpons_${kind} PROPERTIES OUTPUT_NAME pons LINKER_LANGUAGE C)
  target_link_libraries(libpons_${kind} PUBLIC MPI::MPI_C PRIVATE ${PONS_PRIVATE_LIBRARIES})
  if(PONS_SANITIZE)
    target_link_options(libpons_${kind} PUBLIC -fsanitize=address,undefined)
  endif()
  target_include_directories(libpons_${kind} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
# Before 1.0 each minor version may change the binary interface.
set_target_properties(libpons_shared PROPERTIES EXPORT_NAME pons VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set_target_properties(libpons_static PROPERTIES EXPORT_NAME static)
target_link_options(libpons_shared PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/libpons.map)
set_target_properties(libpons_shared PROPERTIES LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/libpons.map)
if(NOT PONS_SANITIZE)
  target_link_options(libpons_shared PRIVATE -Wl,-z,defs)
endif()

install(TARGETS libpons_shared libpons_static EXPORT pons)
install(DIRECTORY include/pons TYPE INCLUDE)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/pons)

# pons(1) holds the help texts, so that both are the same.
if(NOT CMAKE_CROSSCOMPILING)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/pons.1 COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/man.sh $<TARGET_FILE:pons> pons.1
    DEPENDS pons ${CMAKE_CURRENT_LIST_DIR}/man.sh ${CMAKE_CURRENT_LIST_DIR}/pons.1.in VERBATIM)
  add_custom_target(pons_man ALL DEPENDS ${CMAKE_BINARY_DIR}/pons.1)
  install(FILES ${CMAKE_BINARY_DIR}/pons.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/pons)
install(EXPORT pons NAMESPACE pons:: FILE ponsTargets.cmake DESTINATION ${package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ponsConfig.cmake.in ${CMAKE_BINARY_DIR}/ponsConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ponsConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ponsConfig.cmake ${CMAKE_BINARY_DIR}/ponsConfigVersion.cmake DESTINATION ${package})

pons_flatten(libraries MPI::MPI_C)
list(JOIN libraries " " PONS_PC_MPI_LIBS)
list(TRANSFORM MPI_C_INCLUDE_DIRS PREPEND -I OUTPUT_VARIABLE includes)
list(JOIN includes " " PONS_PC_MPI_CFLAGS)
set(libraries ${PONS_PRIVATE_LIBRARIES})
list(APPEND libraries -Wl,-rpath,${OPENBLAS_DIRECTORY})
list(JOIN libraries " " PONS_PC_PRIVATE_LIBS)
# The prefix is known when it is installed: cmake --install --prefix may change it.
set(PONS_PREFIX @PONS_PREFIX@)
configure_file(${CMAKE_CURRENT_LIST_DIR}/pons.pc.in ${CMAKE_BINARY_DIR}/pons.pc.in @ONLY)
install(CODE "
  set(PONS_PREFIX \"\${CMAKE_INSTALL_PREFIX}\")
  configure_file(${CMAKE_BINARY_DIR}/pons.pc.in ${CMAKE_BINARY_DIR}/pons.pc @ONLY)
  file(INSTALL ${CMAKE_BINARY_DIR}/pons.pc DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig\")")
