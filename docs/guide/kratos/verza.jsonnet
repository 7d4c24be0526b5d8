// The body of Kratos's hooks to Verza. The id is all that is needed: Verza reads the identity from
// Kratos itself.
function(ctx) { identity_id: ctx.identity.id }
