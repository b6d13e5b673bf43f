package oauth

// A client trades a one-time code for its first token (RFC 6749 4.1.3). An IMS gives the code in the 200 to a protected REGISTER, to a client whose
// Accept names CodeType with the thumbprint of its key as jkt (RFC 9449 10: the code is good for that key alone).

// CodeType is the media type of a Code, and JKT the parameter of it in Accept.
const (
	CodeType = "application/vnd.imsafe.code+json"
	JKT      = "jkt"
)

// Code is the body of that 200.
type Code struct {
	Code          string `json:"code"`
	TokenEndpoint string `json:"token_endpoint"`
	ExpiresIn     int    `json:"expires_in"` // seconds
}

// Token is the answer of the token endpoint (RFC 6749 5.1), or its refusal (5.2).
type Token struct {
	AccessToken string `json:"access_token,omitempty"`
	TokenType   string `json:"token_type,omitempty"` // "DPoP"
	ExpiresIn   int    `json:"expires_in,omitempty"` // seconds
	Scope       string `json:"scope,omitempty"`
	Error       string `json:"error,omitempty"`
}
