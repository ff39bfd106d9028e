/* Included before everything else in the stub: no symbol needs a GOT, since the image is linked as one. */
#pragma GCC visibility push(hidden)
