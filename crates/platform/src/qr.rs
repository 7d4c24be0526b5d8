//! QR codes, of which screens show links and key URIs.

use kernel::{Error, Result};
use qrcode::QrCode;
use qrcode::render::svg;

/// The side in pixels, where a page does not say otherwise.
const SIDE: u32 = 240;

/// A text as a QR code (ISO/IEC 18004): a whole SVG document, which contains the text as modules
/// only.
///
/// # Errors
/// Internal, for a text that is too long for the largest symbol (2 953 bytes).
pub fn svg(text: &str) -> Result<String> {
    let code = QrCode::new(text)
        .map_err(|error| Error::internal("a text does not fit a QR code").because(error))?;
    Ok(code.render::<svg::Color<'_>>().min_dimensions(SIDE, SIDE).build())
}
