//! The checkout page.

use super::store::Kept;
use super::wire::Status;

pub(crate) const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;\
padding:0 1rem;color:#1a1a2e}h1{font-size:1.25rem}output{display:block;font-size:2rem;\
font-weight:600;margin:.5rem 0}small{color:#555}button{font:inherit;padding:.6rem 1.2rem;\
border:1px solid #1a1a2e;border-radius:.4rem;background:#fff;cursor:pointer}\
button.pay{background:#14532d;border-color:#14532d;color:#fff}form{margin:1rem 0}\
input{font:inherit;padding:.4rem;width:10rem}p.note{border-left:4px solid #b45309;\
padding-left:.75rem}";

/// What the page may load and do.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The page on which a payer decides, or sees what was decided.
pub(super) fn checkout(kept: &Kept) -> String {
    let reference = escape(&kept.reference);
    let amount = escape(&kept.amount.to_string());
    let paid = escape(&kept.paid.to_string());
    let main = match kept.status {
        Status::Paid => format!("<p role=\"status\">Paid: {paid}. You can close this page.</p>"),
        Status::Declined => {
            "<p role=\"status\">Declined. Nothing was paid. You can close this page.</p>".into()
        }
        Status::Pending => {
            let minor = kept.amount.minor;
            format!(
                "<form method=\"post\" action=\"{reference}/approve\">\
                 <button class=\"pay\">Approve {amount}</button></form>\
                 <form method=\"post\" action=\"{reference}/decline\">\
                 <button>Decline</button></form>\
                 <details><summary>Pay another amount</summary>\
                 <form method=\"post\" action=\"{reference}/approve\">\
                 <label>Minor units <input name=\"amount\" inputmode=\"numeric\" \
                 pattern=\"[0-9]+\" value=\"{minor}\"></label> <button>Pay</button></form>\
                 </details>"
            )
        }
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Sandbox checkout</title>\
         <style>{STYLE}</style></head><body><main><h1>Sandbox checkout</h1>\
         <p class=\"note\">This is a test. No real money moves.</p>\
         <output>{amount}</output><small>{reference}</small>{main}</main></body></html>"
    )
}

/// Text that stands in HTML as what it is.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
