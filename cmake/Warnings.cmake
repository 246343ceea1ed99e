# msltx_warnings(target): the warnings every target of ours is held to; sanitizers where asked for.
function(msltx_warnings target)
  # Designated initializers leave fields to their defaults on purpose, which -Wextra would warn of.
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow
    -Wno-missing-field-initializers
    $<$<BOOL:${MSLTX_WERROR}>:-Werror>)
  if(MSLTX_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${MSLTX_SANITIZE}
      -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    target_link_options(${target} PUBLIC -fsanitize=${MSLTX_SANITIZE})
  endif()
endfunction()
