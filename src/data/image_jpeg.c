/* SPDX-License-Identifier: Apache-2.0
 *
 * data/image: JPEG through libjpeg-turbo. A warning of the decoder (a file cut
 * short, above all) counts as an error: half a picture is no training sample.
 * The number of progressive scans is bounded, because a small file can ask
 * for very many.
 */
#include "data/image.h"

#ifdef EX_HAVE_TURBOJPEG

#include <turbojpeg.h>

#include "base/memory.h"

static enum ex_status jpeg_fault(tjhandle jpeg, const char *source, struct ex_error *err) {
  return ex__fail(err, EX_EFORMAT, "%s: cannot decode JPEG: %s", source, tjGetErrorStr2(jpeg));
}

static enum ex_status decode(tjhandle jpeg, const void *data, size_t size, const char *source,
                             int32_t *height, int32_t *width, uint8_t **rgb, struct ex_error *err) {
  int w, h, subsampling, colorspace;
  if (tjDecompressHeader3(jpeg, data, (unsigned long)size, &w, &h, &subsampling, &colorspace) != 0)
    return jpeg_fault(jpeg, source, err);
  EX_TRY(ex__image_check_size(source, h, w, err));
  if (colorspace == TJCS_CMYK || colorspace == TJCS_YCCK)
    return ex__fail(err, EX_EUNSUPPORTED, "%s: a CMYK JPEG; must be grey or RGB", source);
  uint8_t *pixels = ex__alloc((size_t)w * (size_t)h, 3);
  if (pixels == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory for the image", source);
  int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  if (tjDecompress2(jpeg, data, (unsigned long)size, pixels, w, 0, h, TJPF_RGB, flags) != 0) {
    ex__free(pixels);
    return jpeg_fault(jpeg, source, err);
  }
  *height = h;
  *width = w;
  *rgb = pixels;
  return EX_OK;
}

enum ex_status ex__jpeg_decode(const void *data, size_t size, const char *source, int32_t *height,
                               int32_t *width, uint8_t **rgb, struct ex_error *err) {
  tjhandle jpeg = tjInitDecompress();
  if (jpeg == NULL) return ex__fail(err, EX_ENOMEM, "%s: no memory to decode", source);
  enum ex_status status = decode(jpeg, data, size, source, height, width, rgb, err);
  tjDestroy(jpeg);
  return status;
}

#else

enum ex_status ex__jpeg_decode(const void *data, size_t size, const char *source, int32_t *height,
                               int32_t *width, uint8_t **rgb, struct ex_error *err) {
  (void)data, (void)size, (void)height, (void)width, (void)rgb;
  return ex__fail(err, EX_EUNSUPPORTED, "%s: is a JPEG image; this build has no libturbojpeg",
                  source);
}

#endif
