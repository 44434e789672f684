// All addresses are relative to the page's base, so that a proxy may serve this below any path. Without a validator: under
// any name but localhost, Swagger UI would show the document to one on the web.
window.ui = SwaggerUIBundle({
  url: new URL('openapi.json', document.baseURI).href,
  dom_id: '#swagger-ui',
  layout: 'BaseLayout',
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: 'none',
});
